import assert from 'node:assert/strict';
import { deferred } from '../../base/async.ts';
import { isTsswarmError } from '../../base/errors.ts';
import { clusterOf, standing, withRemovedNode } from '../../manager/ca/cluster.ts';
import { issuerDigest, trustedRoots } from '../../manager/ca/issue.ts';
import { finishedRotation, startCaRotation } from '../../manager/ca/rotation.ts';
import { seededRandom } from '../../base/random.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { connect } from './client.ts';
import type { LiveIdentity } from './live-identity.ts';
import { createRpcServer } from './server.ts';
import type { RpcServer } from './server.ts';
import { dispatcherService, raftService } from './services.ts';
import { nodeCredentials } from './tls.ts';

const DAY = 24 * 3600_000;

/** A stream as its caller sees it. */
interface Stream {
  /** Why it ended; undefined: it stands. */
  readonly end: () => string | undefined;
  readonly ended: Promise<string>;
}

describe('streams that stand', () => {
  let cluster: CaCluster;
  let server: RpcServer;
  let address: string;
  /** Handlers whose signal has not aborted. */
  let serving: number;
  const closers: (() => void)[] = [];

  beforeEach(async () => {
    cluster = await caCluster();
    serving = 0;
    const untilGone = async function* <T>(first: T, signal: AbortSignal): AsyncGenerator<T> {
      const gone = deferred<void>();
      signal.addEventListener('abort', () => gone.resolve());
      serving++;
      yield first;
      await gone.promise;
      serving--;
    };
    server = createRpcServer();
    server.add(dispatcherService, {
      session: (_request, signal) => untilGone({ sessionId: 's', heartbeatMs: 1, managers: [] }, signal),
      heartbeat: () => Promise.resolve({ heartbeatMs: 7 }),
      async *assignments() {},
      acknowledge: () => Promise.resolve({}),
      updateTaskStatus: () => Promise.resolve({}),
    });
    server.add(raftService, {
      messages: (_batches, signal) => untilGone({}, signal),
      ping: () => Promise.resolve({ nodeId: 'x' }),
    });
    const { manager: identity, clock, store } = cluster;
    address = `127.0.0.1:${await server.listenTls('127.0.0.1:0', { identity, clock, ...standing(store) })}`;
  });
  afterEach(() => {
    for (const close of closers.splice(0)) close();
    server.close();
    cluster.close();
  });

  /** Opens a session, or Raft's stream, with the identity; resolves when it stands. */
  async function open(identity: LiveIdentity, kind: 'session' | 'raft' = 'session'): Promise<Stream> {
    const connection = connect(address, nodeCredentials(identity));
    closers.push(() => connection.close());
    const life = new AbortController();
    closers.push(() => life.abort(new Error('the test is over')));
    const { nodeId } = identity.node;
    const output: AsyncIterable<unknown> =
      kind === 'session'
        ? connection.service(dispatcherService).session({ nodeId } as never, life.signal)
        : connection.service(raftService).messages(life.signal).output;
    const iterator = output[Symbol.asyncIterator]();
    await iterator.next();
    let end: string | undefined;
    const ended = iterator
      .next()
      .then(
        () => 'no reason',
        (error: unknown) => {
          assert.ok(isTsswarmError(error), String(error));
          assert.ok(error.hint !== undefined, error.message);
          return `${error.code} ${error.message}`;
        },
      )
      .then((text) => (end = text));
    ended.catch(() => undefined);
    return { end: () => end, ended };
  }
  /** Whether a stream still stands, once the server has answered another call: what had ended it would have come before. */
  async function stands(stream: Stream, identity: LiveIdentity): Promise<void> {
    const connection = connect(address, nodeCredentials(identity));
    closers.push(() => connection.close());
    await connection.service(dispatcherService).heartbeat({ sessionId: 's', nodeId: identity.node.nodeId });
    assert.equal(stream.end(), undefined);
  }

  it('end when the certificate that let them in expires, and not before', async () => {
    const worker = await cluster.member('worker');
    const stream = await open(worker);
    await cluster.clock.advance(89 * DAY);
    await stands(stream, worker);
    await cluster.clock.advance(2 * DAY);
    assert.match(await stream.ended, /^PERMISSION_DENIED .*the certificate has expired at/);
    assert.equal(serving, 0, 'the handler is told');
  });

  it('end when the root of their certificate is rotated out, and those of the new one go on', async () => {
    const { store, clock, manager } = cluster;
    const worker = await cluster.member('worker');
    const before = await open(worker);
    await startCaRotation({ store, clock });
    // Both roots are trusted: nothing happens yet.
    manager.replace({ ...manager.current, roots: trustedRoots(store.view(clusterOf)) });
    const renewed = await cluster.renew(worker);
    const after = await open(renewed);
    await stands(before, renewed);
    manager.replace((await cluster.renew(manager)).current);
    await store.update((tx) => {
      const nodes = tx.list('node').map((node) => ({ ...node, certificate: { ...node.certificate, ...usingNew() } }));
      tx.update('cluster', finishedRotation(clusterOf(tx), nodes as never, seededRandom(1)) ?? assert.fail('not over'));
    });
    manager.replace({ ...manager.current, roots: trustedRoots(store.view(clusterOf)) });
    assert.match(await before.ended, /^PERMISSION_DENIED .*the root that issued the certificate was rotated out/);
    renewed.replace({ ...renewed.current, roots: trustedRoots(store.view(clusterOf)) });
    await stands(after, renewed);
    assert.equal(serving, 1);
  });
  /** What a node says that uses the new root. */
  function usingNew() {
    const digest = issuerDigest(cluster.cluster());
    return { usedIssuer: digest, trustedRoots: [digest] };
  }

  it('end when the node is removed, and those of others go on', async () => {
    const [worker, other] = [await cluster.member('worker'), await cluster.member('worker')];
    const [gone, stays] = [await open(worker), await open(other)];
    await cluster.store.update((tx) => {
      const node = tx.get('node', worker.node.nodeId) ?? assert.fail('no node');
      tx.update('cluster', withRemovedNode(clusterOf(tx), node, cluster.clock.now()));
      tx.remove('node', node.id);
    });
    assert.match(await gone.ended, /^PERMISSION_DENIED .*was removed from the cluster/);
    await stands(stays, other);
    assert.equal(serving, 1);
  });

  it('end as a manager when it is demoted: Raft is refused, a session can begin anew', async () => {
    const manager = await cluster.member('manager');
    const [raft, session] = [await open(manager, 'raft'), await open(manager)];
    await cluster.setRole(manager.node.nodeId, 'worker');
    assert.equal(raft.end(), undefined, 'its certificate is a manager one still');
    // Certificates count in seconds.
    await cluster.clock.advance(1_000);
    await cluster.renew(manager);
    assert.match(
      await raft.ended,
      /^PERMISSION_DENIED the connection is lost: calling "Raft\/Messages": not allowed for the worker/,
    );
    assert.match(await session.ended, /^UNAVAILABLE .*the node is a worker now, and was a manager/);
    await stands(await open(manager), manager);
    assert.equal(serving, 1);
  });
});
