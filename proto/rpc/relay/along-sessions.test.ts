import assert from 'node:assert/strict';
import { TsswarmError } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import { A_DESCRIPTION } from '../../../test/builders/ca-cluster.ts';
import type { SessionMessage } from '../../types/index.ts';
import type { Caller } from '../caller.ts';
import { anotherLeads } from '../forward.ts';
import { alongSessions } from './along-sessions.ts';

const WORKER: Caller = { kind: 'node', role: 'worker', nodeId: 'w' as NodeId };
const PASSED_ON: Caller = { ...WORKER, via: 'm2' as NodeId };

describe('a node that listens along with its session', () => {
  /** Nodes of which the hub was told that they listen here no more. */
  let forgotten: string[];
  let sessions: ReturnType<typeof alongSessions>;
  /** Ends of the sessions that have begun, in their order. */
  let ends: PromiseWithResolvers<void>[];

  beforeEach(() => {
    [forgotten, ends] = [[], []];
    const unasked = (): never => {
      throw new Error('not asked for');
    };
    sessions = alongSessions(
      {
        async *session() {
          const end = Promise.withResolvers<void>();
          const sessionId = `session ${ends.push(end)}`;
          yield { sessionId, heartbeatMs: 1000, managers: [] };
          await end.promise;
        },
        heartbeat: unasked,
        assignments: unasked,
        acknowledge: unasked,
        updateTaskStatus: unasked,
      },
      { forget: (nodeId) => void forgotten.push(nodeId) },
    );
  });

  const open = async (caller: Caller): Promise<AsyncIterator<SessionMessage>> => {
    const request = { nodeId: 'w', description: A_DESCRIPTION };
    const session = sessions.session(request, new AbortController().signal, caller)[Symbol.asyncIterator]();
    assert.equal((await session.next()).done, false);
    return session;
  };
  const silent = new TsswarmError('DEADLINE_EXCEEDED', 'heartbeat failure');

  it('is heard as long as that lasts', async () => {
    await open(WORKER);
    assert.deepEqual(forgotten, []);
  });

  it('is not looked for here any more when that is over', async () => {
    const session = await open(WORKER);
    ends[0]?.reject(silent);
    await assert.rejects(session.next(), /heartbeat failure/);
    assert.deepEqual(forgotten, ['w']);
  });

  it('nor when it has hung up', async () => {
    const session = await open(WORKER);
    ends[0]?.resolve();
    await session.return?.();
    assert.deepEqual(forgotten, ['w']);
  });

  it('nor when it has another one through another manager', async () => {
    await open(PASSED_ON);
    assert.deepEqual(forgotten, ['w']);
  });

  it('is heard on where the next one goes through this manager too', async () => {
    const session = await open(WORKER);
    await open(WORKER);
    ends[0]?.reject(new TsswarmError('CONFLICT', 'the node has begun another session'));
    await assert.rejects(session.next(), /another session/);
    assert.deepEqual(forgotten, []);
  });

  it('is heard on where only the leader is another: it stays, and asks for another one', async () => {
    const session = await open(WORKER);
    ends[0]?.reject(anotherLeads());
    await assert.rejects(session.next(), /another manager leads/);
    assert.deepEqual(forgotten, []);
  });
});
