import assert from 'node:assert/strict';
import { X509Certificate, webcrypto } from 'node:crypto';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import type { Cluster, Node } from '../../proto/types/index.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { createCertificateRequest } from '../../worker/identity/request.ts';
import { clusterOf, standing, withRemovedNode, withoutKeys } from './cluster.ts';
import { checkClusterSettings } from '../cluster/spec.ts';
import { issueCertificate, readRequest } from './issue.ts';
import { createRootCa } from './root.ts';
import { importSigningKey } from './signing-key.ts';
import { roleOfToken, rotateJoinToken } from './tokens.ts';
import * as x509 from '@peculiar/x509';

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const denied = (message: RegExp) => (error: unknown) =>
  isTsswarmError(error, 'PERMISSION_DENIED') && message.test(error.message);
const invalid = (message: RegExp) => (error: unknown) =>
  isTsswarmError(error, 'INVALID_INPUT') && message.test(error.message);

describe('issuing certificates', () => {
  let ca: CaCluster;
  before(async () => {
    ca = await caCluster();
  });
  const issue = async (cluster: Cluster, now = Date.now()): Promise<X509Certificate> => {
    const { csr } = await createCertificateRequest();
    const node = { nodeId: 'n1' as NodeId, role: 'manager' } as const;
    return new X509Certificate((await issueCertificate(cluster, await readRequest(csr), node, now)).certificate);
  };

  it('lasts as the cluster says, from an hour ago', async () => {
    const now = Date.now();
    const cluster = { ...ca.cluster(), spec: { ...ca.cluster().spec, nodeCertExpiryMs: 2 * HOUR } };
    const { validFromDate, validToDate } = await issue(cluster, now);
    assert.ok(Math.abs(validFromDate.getTime() - (now - HOUR)) <= 1000);
    assert.ok(Math.abs(validToDate.getTime() - (now + 2 * HOUR)) <= 1000);
  });

  it('never lasts longer than its root', async () => {
    const now = Date.now();
    const old = await createRootCa('c', now - 20 * 365 * DAY + 30 * DAY);
    const { validToDate } = await issue(
      { ...ca.cluster(), rootCaCertificate: old.certificate, rootCaKey: old.key },
      now,
    );
    assert.ok(Math.abs(validToDate.getTime() - (now + 30 * DAY)) < 2000);
  });

  it('is for TLS at both ends, signs nothing, and names what swarmkit’s does', async () => {
    const certificate = await issue(ca.cluster());
    assert.equal(certificate.ca, false);
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.equal(certificate.subjectAltName, 'DNS:n1, DNS:swarm-manager, DNS:swarm-ca');
  });

  it('takes only requests whose key is P-256 and whose signature fits', async () => {
    await assert.rejects(readRequest('hello'), invalid(/it is none in PEM/));
    const { csr } = await createCertificateRequest();
    const der = Buffer.from(csr.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // The last byte belongs to the signature.
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
    const changed = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    await assert.rejects(readRequest(changed), invalid(/signature does not fit|none in PEM/));
    const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const other = await x509.Pkcs10CertificateRequestGenerator.create({
      keys: keys as never,
      signingAlgorithm: algorithm,
    });
    await assert.rejects(readRequest(other.toString('pem')), invalid(/expected ECDSA P-256/));
  });

  it('refuses lifetimes that make no sense', () => {
    assert.deepEqual(checkClusterSettings({ nodeCertExpiryMs: HOUR }), { nodeCertExpiryMs: HOUR });
    for (const ms of [0, HOUR - 1, NaN, Infinity, 21 * 365 * DAY])
      assert.throws(() => checkClusterSettings({ nodeCertExpiryMs: ms }), invalid(/1h to 20 years/));
  });

  it('asks for a key that is not encrypted', async () => {
    const key = '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----';
    await assert.rejects(
      importSigningKey(key),
      (error) => isTsswarmError(error) && /decrypt it first/.test(error.hint ?? ''),
    );
  });
});

describe('join tokens in the store', () => {
  it('give their role, and say why they do not', async () => {
    const { store, cluster } = await caCluster();
    const { worker, manager } = cluster().joinTokens;
    assert.equal(roleOfToken(cluster(), worker), 'worker');
    assert.equal(roleOfToken(cluster(), manager), 'manager');
    const foreign = (await caCluster(2)).cluster().joinTokens.worker;
    assert.throws(() => roleOfToken(cluster(), foreign), denied(/of another cluster/));
    assert.throws(
      () =>
        roleOfToken(
          cluster(),
          worker.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
        ),
      denied(/is wrong/),
    );
    const fresh = await rotateJoinToken(store, seededRandom(3), 'worker');
    assert.throws(() => roleOfToken(cluster(), worker), denied(/was rotated/));
    assert.equal(roleOfToken(cluster(), fresh), 'worker');
    assert.equal(roleOfToken(cluster(), manager), 'manager');
  });

  it('are remembered in a bounded number', async () => {
    const { store, cluster } = await caCluster();
    const random = seededRandom(3);
    for (let i = 0; i < 40; i++) await rotateJoinToken(store, random, 'worker');
    assert.equal(cluster().rotatedTokens?.length, 32);
  });
});

describe('the standing of nodes', () => {
  it('forgets a removed node when its certificate cannot hold any more', async () => {
    const ca = await caCluster();
    const { nodeId } = (await ca.member('worker')).node;
    const node = ca.store.view((tx) => tx.get('node', nodeId)) as Node;
    const now = Date.now();
    await ca.store.update((tx) => {
      tx.remove('node', nodeId);
      tx.update('cluster', withRemovedNode(clusterOf(tx), node, now));
    });
    assert.ok(standing(ca.store).isRemoved(nodeId));
    assert.ok(!standing(ca.store).isRemoved('other' as NodeId));
    const another = { ...node, id: 'another' as NodeId };
    const week = 7 * DAY;
    assert.equal(withRemovedNode(ca.cluster(), another, now + 90 * DAY).removedNodes?.length, 2);
    assert.deepEqual(
      withRemovedNode(ca.cluster(), another, now + 90 * DAY + week + HOUR).removedNodes?.map(({ id }) => id),
      ['another'],
    );
  });

  it('shows no private key', async () => {
    const { cluster } = await caCluster();
    const caRotation = { startedAt: 1, rootCertificate: 'c', rootKey: 'SECRET', crossCertificate: 'x' };
    const shown = JSON.stringify(withoutKeys({ ...cluster(), caRotation }));
    assert.ok(!/PRIVATE KEY|SECRET/.test(shown));
  });
});
