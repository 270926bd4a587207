import assert from 'node:assert/strict';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import { NOBODY, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import type { Caller } from './caller.ts';
import { connect } from './client.ts';
import type { Connection } from './client.ts';
import { forwarding } from './forward.ts';
import type { LeaderConnection } from './forward.ts';
import type { LiveIdentity } from './live-identity.ts';
import { createRpcServer } from './server.ts';
import type { ServiceHandlers } from './server.ts';
import { caService, dispatcherService, tasksService } from './services.ts';
import { nodeCredentials } from './tls.ts';

describe('passing calls on to the leader', () => {
  let cluster: CaCluster;
  let worker: LiveIdentity;
  let follower: LiveIdentity;
  const closers: (() => void)[] = [];
  const seen: Caller[] = [];
  let gone = Promise.withResolvers<void>();
  /** What a change does on the leader. */
  let change: () => Promise<void>;
  /** Which connection each manager takes for the leader's. */
  let leaderOf: { leader: () => LeaderConnection | undefined; follower: () => LeaderConnection | undefined };
  let toFollower: Connection;
  /** From the leader to the follower. */
  let back: Connection;

  async function serve(identity: LiveIdentity, leader: () => LeaderConnection | undefined): Promise<string> {
    const server = createRpcServer();
    server.add(
      dispatcherService,
      forwarding(
        dispatcherService,
        {
          async *session(_request, signal, caller) {
            seen.push(caller);
            yield { sessionId: identity.node.nodeId, heartbeatMs: 1, managers: [] };
            await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
            gone.resolve();
          },
          heartbeat: () => Promise.reject(new TsswarmError('CONFLICT', 'beating: not now', { hint: 'later' })),
          async *assignments() {},
          acknowledge: () => Promise.resolve({}),
          updateTaskStatus: () => change().then(() => ({})),
        },
        leader,
      ),
    );
    const { containers, logs, exec, attach } = tasksService;
    const served = { containers, logs, exec, attach };
    server.add(
      served,
      forwarding(
        served,
        {
          containers: () => Promise.resolve({ containers: [] }),
          async *logs() {},
          async *exec(input) {
            for await (const { stdin } of input) if (stdin) yield { stdout: stdin };
            yield { exit: { code: 3, oomKilled: false } };
          },
          async *attach() {},
        },
        leader,
      ),
    );
    closers.push(() => server.close());
    return `127.0.0.1:${await server.listenTls('127.0.0.1:0', { identity, clock: cluster.clock, ...NOBODY })}`;
  }
  const open = (address: string, identity: LiveIdentity): Connection => {
    const connection = connect(address, nodeCredentials(identity));
    closers.push(() => connection.close());
    return connection;
  };

  beforeEach(async () => {
    cluster = await caCluster();
    [worker, follower] = [await cluster.member('worker'), await cluster.member('manager')];
    seen.length = 0;
    change = () => Promise.resolve();
    gone = Promise.withResolvers();
    const leaderAddress = await serve(cluster.manager, () => leaderOf.leader());
    const followerAddress = await serve(follower, () => leaderOf.follower());
    const toLeader = open(leaderAddress, follower);
    toFollower = open(followerAddress, worker);
    back = open(followerAddress, cluster.manager);
    leaderOf = { leader: () => undefined, follower: () => toLeader };
  });
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  it('keeps who calls, streams, and ends when the caller goes', async () => {
    const controller = new AbortController();
    const { nodeId } = worker.node;
    const session = toFollower.service(dispatcherService).session({ nodeId } as never, controller.signal);
    for await (const { sessionId } of session) {
      assert.equal(sessionId, cluster.manager.node.nodeId);
      break;
    }
    assert.deepEqual(seen, [{ kind: 'node', nodeId, role: 'worker', via: follower.node.nodeId }]);
    await gone.promise;
  });

  it('ends what it answers itself when it leads no more, where it is asked to', async () => {
    const life = new AbortController();
    const here: Pick<ServiceHandlers<typeof caService>, 'watchIdentity'> = {
      async *watchIdentity(_request, signal) {
        yield { role: 'worker', issuer: 'i', roots: '' };
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      },
    };
    const { watchIdentity } = forwarding(
      caService,
      here as never,
      () => undefined,
      systemClock,
      () => life.signal,
    );
    const caller = { kind: 'node', nodeId: worker.node.nodeId, role: 'worker' } as const;
    const stream = watchIdentity({} as never, new AbortController().signal, caller);
    const answers = (stream as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    assert.equal((await answers.next()).done, false);
    const end = answers.next();
    life.abort(new Error('another manager leads'));
    assert.equal((await end).done, true);
  });

  it('keeps the error', async () => {
    const beat = { sessionId: 's', nodeId: worker.node.nodeId };
    await assert.rejects(toFollower.service(dispatcherService).heartbeat(beat), (error) => {
      assert.ok(isTsswarmError(error, 'CONFLICT'));
      assert.equal(error.hint, 'later');
      return true;
    });
  });

  it('carries both directions', async () => {
    const manager = await cluster.member('manager');
    const address = await serve(follower, () => leaderOf.follower());
    const call = open(address, manager).service(tasksService).exec();
    await call.send({ stdin: Buffer.from('a') });
    await call.send({ stdin: Buffer.from('b') });
    call.end();
    const out = [];
    for await (const message of call.output)
      out.push(message.exit?.code ?? Buffer.from(message.stdout ?? []).toString());
    assert.deepEqual(out, ['a', 'b', 3]);
  });

  it('does not pass a call on twice, when two managers take each other for the leader', async () => {
    leaderOf = { ...leaderOf, leader: () => back };
    const update = { sessionId: 's', nodeId: worker.node.nodeId, updates: [], removedVolumes: [], removedNetworks: [] };
    await assert.rejects(toFollower.service(dispatcherService).updateTaskStatus(update), (error) =>
      isTsswarmError(error, 'NOT_LEADER'),
    );
  });

  describe('when a former leader has refused them', () => {
    let asked = 0;
    beforeEach(() => {
      const leading = leaderOf.follower();
      assert.ok(leading !== undefined);
      let lost = new AbortController();
      asked = 0;
      leaderOf = {
        // Knows already that it leads no more; the other one is told a little later.
        leader: () => {
          asked++;
          setImmediate(() => {
            lost.abort();
            leaderOf.leader = () => undefined;
          });
          return back;
        },
        follower: () => {
          if (lost.signal.aborted) lost = new AbortController();
          return { ...leading, lost: lost.signal };
        },
      };
    });

    it('asks again when it hears who leads', async () => {
      const { nodeId } = worker.node;
      const update = { sessionId: 's', nodeId, updates: [], removedVolumes: [], removedNetworks: [] };
      let changes = 0;
      change = () => Promise.resolve(void changes++);
      assert.deepEqual(await toFollower.service(dispatcherService).updateTaskStatus(update), {});
      assert.deepEqual([asked, changes], [1, 1]);
    });

    it('asks again for a stream that has not begun', async () => {
      const life = new AbortController();
      const { nodeId } = worker.node;
      const session = toFollower.service(dispatcherService).session({ nodeId } as never, life.signal);
      const first = await session[Symbol.asyncIterator]().next();
      assert.equal((first.value as { sessionId: string }).sessionId, cluster.manager.node.nodeId);
      assert.deepEqual([asked, seen.length], [1, 1]);
      life.abort(new Error('over'));
    });
  });

  it('brings the answer of a leader that was lost by what it was asked, and does not wait for one that never comes', async () => {
    const update = { sessionId: 's', nodeId: worker.node.nodeId, updates: [], removedVolumes: [], removedNetworks: [] };
    const leading = leaderOf.follower();
    assert.ok(leading !== undefined);
    let lost = new AbortController();
    leaderOf.follower = () => ({ ...leading, lost: lost.signal });
    const answer = Promise.withResolvers<void>();
    change = () => {
      // It was demoted: the others hear of that before it has answered.
      lost.abort();
      setImmediate(answer.resolve);
      return answer.promise;
    };
    assert.deepEqual(await toFollower.service(dispatcherService).updateTaskStatus(update), {});
    lost = new AbortController();
    change = () => {
      lost.abort();
      return new Promise(() => undefined);
    };
    await assert.rejects(toFollower.service(dispatcherService).updateTaskStatus(update), (error) => {
      assert.ok(isTsswarmError(error, 'OUTCOME_UNKNOWN'));
      assert.match(error.message, /the leader was lost before it answered/);
      return true;
    });
  });

  it('says so while nobody leads', async () => {
    leaderOf.follower = () => {
      throw new TsswarmError('UNAVAILABLE', 'looking for the leader: there is none now');
    };
    const beat = { sessionId: 's', nodeId: worker.node.nodeId };
    await assert.rejects(toFollower.service(dispatcherService).heartbeat(beat), /there is none now/);
  });
});
