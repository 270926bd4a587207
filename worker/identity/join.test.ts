import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { seededRandom } from '../../base/random.ts';
import { identityOf } from '../../proto/rpc/certificate.ts';
import { connect } from '../../proto/rpc/client.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import { caService, daemonService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import { withRemovedNode } from '../../manager/ca/cluster.ts';
import { renewCertificate } from '../../manager/ca/server.ts';
import { joinToken, rotateJoinToken } from '../../manager/ca/tokens.ts';
import { A_DESCRIPTION, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { obtainIdentity, renewIdentity } from './client.ts';
import type { JoinOptions } from './client.ts';
import { createCertificateRequest } from './request.ts';

const HOUR = 3600 * 1000;

describe('joining a cluster', () => {
  let cluster: CaCluster;
  let address: string;
  const options = (change: Partial<JoinOptions> = {}): JoinOptions => ({
    address,
    token: joinToken(cluster.store, 'worker'),
    clock: cluster.clock,
    availability: 'active',
    advertiseAddress: '127.0.0.1:2377',
    description: A_DESCRIPTION,
    ...change,
  });
  const refused = (code: ErrorCode, message: RegExp, change: () => Partial<JoinOptions>) => async () => {
    await assert.rejects(obtainIdentity(options(change())), (error) => {
      assert.ok(isTsswarmError(error, code), String(error));
      assert.match(error.message, message);
      assert.ok(error.hint, 'it says what to do');
      return true;
    });
  };

  beforeEach(async () => {
    cluster = await caCluster();
    ({ address } = await cluster.serve());
  });
  afterEach(() => cluster.close());

  for (const role of ['worker', 'manager'] as const) {
    it(`makes a ${role} of a node with the ${role} token`, async () => {
      const identity = await obtainIdentity(options({ token: joinToken(cluster.store, role) }));
      const { nodeId, clusterId, role: given } = identityOf(identity.certificate);
      assert.equal(given, role);
      assert.equal(clusterId, cluster.cluster().id);
      const node = cluster.store.view((tx) => tx.get('node', nodeId));
      assert.equal(node?.spec.role, role);
      assert.equal(node.status.address, '127.0.0.1:2377');
      assert.equal(node.description.hostname, 'testhost');
      const certificate = new X509Certificate(identity.certificate);
      assert.equal(certificate.subject, `CN=${nodeId}\nOU=swarm-${role}\nO=${clusterId}`);
      assert.match(certificate.subjectAltName ?? '', new RegExp(`DNS:${nodeId}, DNS:swarm-${role}`));
      const life = certificate.validToDate.getTime() - certificate.validFromDate.getTime();
      assert.ok(Math.abs(life - (90 * 24 + 1) * HOUR) <= 1000);
    });
  }

  it('is the same node when the same key joins twice, as after a lost answer', async () => {
    const request = await createCertificateRequest();
    const first = await obtainIdentity(options({ request }));
    const second = await obtainIdentity(options({ request }));
    assert.equal(identityOf(first.certificate).nodeId, identityOf(second.certificate).nodeId);
    assert.equal(cluster.store.view((tx) => tx.list('node')).length, 2);
  });

  it(
    'refuses a malformed token before it connects',
    refused('INVALID_INPUT', /malformed/, () => ({ token: 'SWMTKN-1-x', address: '127.0.0.1:1' })),
  );
  it(
    'refuses a wrong secret',
    refused('PERMISSION_DENIED', /token is wrong/, () => ({
      token: joinToken(cluster.store, 'worker').replace(/.{25}$/, '0'.repeat(25)),
    })),
  );
  it('refuses a rotated token and takes the new one', async () => {
    const old = joinToken(cluster.store, 'worker');
    const fresh = await rotateJoinToken(cluster.store, seededRandom(9), 'worker');
    await refused('PERMISSION_DENIED', /was rotated/, () => ({ token: old }))();
    assert.equal(identityOf((await obtainIdentity(options({ token: fresh }))).certificate).role, 'worker');
    assert.equal(
      identityOf((await obtainIdentity(options({ token: joinToken(cluster.store, 'manager') }))).certificate).role,
      'manager',
    );
  });
  it('does not show the token to another cluster', async () => {
    const other = await caCluster(2);
    await refused('PERMISSION_DENIED', /not the one that the join token is of/, () => ({
      token: joinToken(other.store, 'worker'),
    }))();
    other.close();
  });
  for (const [title, ms, words] of [
    ['behind', -2 * HOUR, /the clock of the node says .*, that of the manager .*: it is 2h behind, at most 1h/],
    ['ahead', 2 * HOUR, /: it is 2h ahead, at most 1h/],
  ] as const) {
    it(
      `says that the clock is ${title}`,
      refused('PERMISSION_DENIED', words, () => ({ clock: new VirtualClock(cluster.clock.now() + ms) })),
    );
  }
  it(
    'says that nobody answers',
    refused(
      'UNAVAILABLE',
      /joining the cluster at "127.0.0.1:1": no manager answers there: connect ECONNREFUSED/,
      () => ({ address: '127.0.0.1:1' }),
    ),
  );

  it('renews with the certificate alone, with a new key and the role of the store', async () => {
    const identity = createLiveIdentity(await obtainIdentity(options()));
    const { nodeId } = identity.node;
    await cluster.store.update((tx) => {
      const node = tx.get('node', nodeId);
      assert.ok(node);
      tx.update('node', { ...node, spec: { ...node.spec, role: 'manager' } });
    });
    const connection = connect(address, nodeCredentials(identity));
    const next = await renewIdentity(connection.service(caService), identity.current, cluster.clock);
    connection.close();
    assert.deepEqual(identityOf(next.certificate), { ...identity.node, role: 'manager' });
    assert.notEqual(next.key, identity.current.key);
  });

  it('does not renew for a node that was removed', async () => {
    const identity = createLiveIdentity(await obtainIdentity(options()));
    await cluster.store.update((tx) => {
      const node = tx.get('node', identity.node.nodeId);
      assert.ok(node);
      tx.remove('node', node.id);
      tx.update('cluster', withRemovedNode(cluster.cluster(), node, cluster.clock.now()));
    });
    const connection = connect(address, nodeCredentials(identity));
    await assert.rejects(
      renewIdentity(connection.service(caService), identity.current, cluster.clock),
      (error) => isTsswarmError(error, 'PERMISSION_DENIED') && /was removed from the cluster/.test(error.message),
    );
    connection.close();
  });

  it('takes the old certificate of a demoted manager for no more than a worker’s', async () => {
    const identity = createLiveIdentity(await obtainIdentity(options({ token: joinToken(cluster.store, 'manager') })));
    const { nodeId } = identity.node;
    const seen: string[] = [];
    const { address: served } = await cluster.serve((server) =>
      server.add(daemonService, {
        status: () => Promise.reject(new Error('not asked for')),
        leave: () => Promise.reject(new Error('not asked for')),
        unlock: () => Promise.reject(new Error('not asked for')),
        forceNewCluster: () => Promise.reject(new Error('not asked for')),
      }),
    );
    const connection = connect(served, nodeCredentials(identity));
    // As a manager it may pass on calls of the local socket.
    const behalf = connection.service(daemonService, { kind: 'local' });
    const outcome = (): Promise<unknown> =>
      behalf.leave({ force: false }).catch((error: Error) => seen.push(error.message));
    await outcome();
    await cluster.clock.advance(2000);
    await cluster.setRole(nodeId, 'worker');
    await outcome();
    // Only once it has been given the worker's certificate is the other one worth less.
    const { csr } = await createCertificateRequest();
    await renewCertificate(cluster, nodeId, csr);
    await outcome();
    connection.close();
    assert.deepEqual(seen.slice(0, 2), ['not asked for', 'not asked for']);
    assert.match(seen[2] ?? '', /only a manager passes calls on, not the worker/);
  });

  it('does not issue a certificate for nothing', async () => {
    const { csr } = await createCertificateRequest();
    await assert.rejects(
      cluster.ca.issueCertificate(
        { csr, token: '', availability: 'active', address: '', wallTime: cluster.clock.now() },
        new AbortController().signal,
        { kind: 'anonymous' },
      ),
      (error) => isTsswarmError(error, 'PERMISSION_DENIED') && /neither a join token/.test(error.message),
    );
  });
});
