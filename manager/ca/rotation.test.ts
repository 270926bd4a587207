import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { rootDigest } from '../../base/join-token.ts';
import { silentLogger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { seededRandom } from '../../base/random.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import { caService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import { verifyChain } from '../../proto/rpc/certificate.ts';
import { A_DESCRIPTION, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { obtainIdentity } from '../../worker/identity/client.ts';
import { keepIdentity } from '../../worker/identity/loop.ts';
import { runCaLoop } from './loop.ts';
import { createRootCa } from './root.ts';
import { rotationProgress, startCaRotation } from './rotation.ts';
import { caInProcess, createCa } from './server.ts';
import { joinToken } from './tokens.ts';

/** No spread, no jitter. */
const still: Random = { ...seededRandom(1), next: () => 0 };

describe('the rotation of the CA', () => {
  let cluster: CaCluster;
  let address: string;
  const closers: (() => unknown)[] = [];

  const join = async (token = joinToken(cluster.store, 'worker')): Promise<LiveIdentity> =>
    createLiveIdentity(
      await obtainIdentity({
        address,
        token,
        clock: cluster.clock,
        availability: 'active',
        advertiseAddress: '',
        description: A_DESCRIPTION,
      }),
    );
  /** Keeps a worker's identity over the network, the manager's in its process. */
  function keep(identity: LiveIdentity): void {
    const connection = connect(address, nodeCredentials(identity));
    const own = identity === cluster.manager;
    const keeper = keepIdentity({
      identity,
      disk: { save: () => Promise.resolve() },
      ca: () => (own ? caInProcess(cluster.ca, () => identity.node) : connection.service(caService)),
      clock: cluster.clock,
      random: still,
      logger: silentLogger,
    });
    closers.push(async () => {
      connection.close();
      await keeper.close();
    });
  }
  function runLoop(): void {
    const life = new AbortController();
    const { store, clock } = cluster;
    const loop = runCaLoop({ store, clock, random: seededRandom(5), logger: silentLogger }, life.signal);
    closers.push(() => {
      life.abort();
      return loop;
    });
  }
  /** Lets virtual time and the real network go on until it is so. */
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await cluster.clock.advance(100);
  }
  const asks = async (identity: LiveIdentity): Promise<string> => {
    const connection = connect(address, nodeCredentials(identity));
    try {
      return (await connection.service(caService).getRootCertificate({})).roots;
    } finally {
      connection.close();
    }
  };
  const waiting = (): readonly string[] | undefined =>
    rotationProgress(
      cluster.cluster(),
      cluster.store.view((tx) => tx.list('node')),
    )?.waitingFor;

  beforeEach(async () => {
    cluster = await caCluster();
    ({ address } = await cluster.serve());
  });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
    cluster.close();
  });

  it('takes every node along, with no word from an administrator, and forgets the old root', async () => {
    const workers = [await join(), await join()];
    for (const identity of [cluster.manager, ...workers]) keep(identity);
    runLoop();
    const before = cluster.cluster();
    const oldToken = joinToken(cluster.store, 'worker');
    // Somebody who has a certificate of the old root, and stays on the connection that it was made with.
    const left = connect(address, nodeCredentials(createLiveIdentity((workers[0] as LiveIdentity).current)));
    const watches = async (): Promise<void> => {
      const { nodeId } = (workers[0] as LiveIdentity).node;
      const request = { nodeId, usedIssuer: '', trustedRoots: [] };
      for await (const _ of left.service(caService).watchIdentity(request)) return;
    };
    await watches();
    await startCaRotation(cluster);
    await until(() => cluster.cluster().caRotation === undefined);
    const after = cluster.cluster();
    assert.notEqual(rootDigest(after.rootCaCertificate), rootDigest(before.rootCaCertificate));
    // Each node drops the old root on its own, too.
    await until(() => [cluster.manager, ...workers].every(({ current }) => current.roots === after.rootCaCertificate));
    for (const identity of [cluster.manager, ...workers])
      assert.ok(verifyChain(identity.current.certificate, after.rootCaCertificate, Date.now()));
    await assert.rejects(watches(), /the root that issued the certificate was rotated out/);
    left.close();
    assert.equal(await asks(workers[0] as LiveIdentity), after.rootCaCertificate);
    await assert.rejects(join(oldToken), /the join token is of a root that was rotated out/);
    assert.equal((await join()).node.role, 'worker');
  });

  it('believes what a node said last, also when something that it said before comes later', async () => {
    const { nodeId } = (await join()).node;
    const { watchIdentity } = createCa({ ...cluster, random: seededRandom(1) });
    const used = (): string | undefined => cluster.store.view((tx) => tx.get('node', nodeId))?.certificate?.usedIssuer;
    const say = async (usedIssuer: string): Promise<() => void> => {
      const life = new AbortController();
      const caller = { kind: 'node', nodeId, role: 'worker' } as const;
      const request = { nodeId, usedIssuer, trustedRoots: [usedIssuer] };
      const notices = watchIdentity(request, life.signal, caller)[Symbol.asyncIterator]();
      await notices.next();
      notices.next().catch(() => undefined);
      return () => life.abort(new Error('the caller is gone'));
    };
    const hangUp = await say('new');
    // It was on its way on a link that was cut; that nobody waits for it any more comes right behind it.
    const late = await say('old');
    assert.equal(used(), 'old');
    late();
    await until(() => used() === 'new');
    hangUp();
    const next = await say('newer');
    assert.equal(used(), 'newer');
    next();
  });

  it('lets nodes of both roots talk to each other meanwhile, and old tokens join', async () => {
    const old = await join();
    await startCaRotation(cluster);
    // The manager has renewed, the old worker knows the old root only.
    cluster.manager.replace((await cluster.renew(cluster.manager)).current);
    assert.equal((cluster.manager.current.certificate.match(/BEGIN/g) ?? []).length, 2);
    assert.ok(await asks(old));
    const fresh = await join();
    assert.ok(await asks(fresh));
    assert.notEqual(fresh.current.roots, old.current.roots);
    // And the other way round: a manager that has not renewed yet, a worker that has.
    const other = await caCluster(3);
    const served = await other.serve();
    const worker = await other.member('worker');
    await startCaRotation(other);
    worker.replace((await other.renew(worker)).current);
    const connection = connect(served.address, nodeCredentials(worker));
    assert.ok(await connection.service(caService).getRootCertificate({}));
    connection.close();
    other.close();
  });

  it('waits for a node that is away, says for which, and ends when it is removed', async () => {
    const away = await join();
    keep(cluster.manager);
    runLoop();
    await startCaRotation(cluster);
    await until(() => waiting()?.length === 1);
    assert.deepEqual(waiting(), [away.node.nodeId]);
    await assert.rejects(startCaRotation(cluster), (error) => {
      assert.ok(isTsswarmError(error, 'IN_USE'));
      assert.match(error.message, /1 of 2 nodes have not renewed/);
      assert.match(error.hint ?? '', new RegExp(away.node.nodeId));
      return true;
    });
    await cluster.store.update((tx) => tx.remove('node', away.node.nodeId));
    await until(() => cluster.cluster().caRotation === undefined);
  });

  it('goes to a root that the user brings, and on from there', async () => {
    keep(cluster.manager);
    runLoop();
    const mine = await createRootCa('mine', cluster.clock.now());
    await startCaRotation(cluster, mine);
    await until(() => cluster.cluster().caRotation === undefined);
    assert.equal(cluster.cluster().rootCaCertificate, mine.certificate);
    await assert.rejects(startCaRotation(cluster, mine), /is the present one/);
    await startCaRotation(cluster);
    await until(() => cluster.cluster().caRotation === undefined);
    await until(() => cluster.manager.current.roots === cluster.cluster().rootCaCertificate);
    assert.equal((await join()).node.clusterId, cluster.cluster().id);
  });
});
