import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { createRootCa } from '../../manager/ca/root.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { decodeCaller, encodeCaller } from './caller.ts';
import type { Caller } from './caller.ts';
import { certificatesOf, identityOf, verifyChain } from './certificate.ts';

const DAY = 24 * 3600_000;

describe('certificates', () => {
  let cluster: CaCluster;
  before(async () => {
    cluster = await caCluster();
  });

  it('say who the node is', async () => {
    const { current } = await cluster.certify('worker', { clusterId: 'c1' });
    assert.deepEqual(identityOf(current.certificate), { nodeId: 'workerx', role: 'worker', clusterId: 'c1' });
  });

  it('of other kinds say nothing', () => {
    for (const text of [cluster.cluster().rootCaCertificate, '', 'hello'])
      assert.throws(
        () => identityOf(text),
        (error) => isTsswarmError(error, 'INVALID_INPUT'),
      );
    assert.throws(
      () => certificatesOf('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'),
      (error) => isTsswarmError(error, 'INVALID_INPUT'),
    );
  });

  it('hold under their root, in their time', async () => {
    const now = Date.now();
    const { certificate } = (await cluster.certify('worker')).current;
    const { rootCaCertificate: root } = cluster.cluster();
    const foreign = await createRootCa('other', now);
    assert.equal(
      verifyChain(certificate, foreign.certificate + root, now)
        .toString()
        .trim(),
      root.trim(),
    );
    const refused = (message: RegExp, roots: string, at: number): void =>
      assert.throws(
        () => verifyChain(certificate, roots, at),
        (error) => isTsswarmError(error, 'PERMISSION_DENIED') && message.test(error.message),
      );
    refused(/no root of this cluster/, foreign.certificate, now);
    refused(/no root of this cluster/, '', now);
    refused(/has expired at/, root, now + 90 * DAY);
    refused(/is valid from/, root, now - DAY);
    // A node's certificate signs nothing, whatever stands behind it in the chain.
    const forged = (await cluster.certify('manager')).current.certificate;
    assert.throws(() => verifyChain(foreign.certificate + forged, root, now), /no root of this cluster/);
  });
});

describe('callers', () => {
  it('survive being passed on', () => {
    const callers: Caller[] = [
      { kind: 'local' },
      { kind: 'anonymous' },
      { kind: 'node', role: 'worker', nodeId: 'abc' as never },
      { kind: 'node', role: 'manager', nodeId: 'x1' as never },
    ];
    for (const caller of callers) assert.deepEqual(decodeCaller(encodeCaller(caller)), caller);
    for (const text of ['', 'root', 'manager/', 'manager/A B', 'admin/x', 'worker/x/y'])
      assert.equal(decodeCaller(text), undefined);
  });
});
