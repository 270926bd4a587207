import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Connection } from '../../proto/rpc/client.ts';
import { anotherLeads } from '../../proto/rpc/forward.ts';
import { lostConnection } from '../../proto/rpc/errors.ts';
import { A_DESCRIPTION } from '../../test/builders/ca-cluster.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { createManagers } from './client.ts';

const ANOTHER_LEADS = anotherLeads();
const IS_DEPOSED = new TsswarmError('NOT_LEADER', 'this manager no longer leads');
const IS_LOST = lostConnection('m1:2377', 'the connection is lost', new Error('ECONNRESET'));

/** Managers that answer sessions as they are told to; which of them were connected to, in order. */
class Managers {
  readonly connected: string[] = [];
  /** Ends the session, or the call, that is under way. */
  end: (error: Error) => void = () => undefined;
  refusal: Error | undefined;
  /** No session is answered. */
  isSilent = false;
  readonly clock = new VirtualClock();
  readonly way = createManagers({
    identity: () => {
      throw new Error('nobody connects by gRPC here');
    },
    clock: this.clock,
    addresses: () => ['m1:2377', 'm2:2377'],
    learn: () => undefined,
    local: () => undefined,
    connect: (address) => this.#connect(address),
  });

  #connect(address: string): Connection {
    this.connected.push(address);
    const ended = (signal?: AbortSignal): Promise<never> =>
      new Promise((_, reject) => {
        this.end = reject;
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    const service = {
      session: async function* (this: Managers, _: unknown, signal: AbortSignal) {
        if (this.refusal !== undefined) throw this.refusal;
        if (this.isSilent) await ended(signal);
        yield { sessionId: 's', heartbeatMs: 1500, managers: [] };
        await ended(signal);
      }.bind(this),
      heartbeat: (_: unknown, signal?: AbortSignal) => ended(signal),
      assignments: async function* (_: unknown, signal?: AbortSignal) {
        await ended(signal);
      },
    };
    return { service: () => service as never, close: () => undefined };
  }

  /** Opens a session. @returns what resolves when it has ended */
  async open(signal?: AbortSignal): Promise<{ readonly over: Promise<unknown> }> {
    const request = { nodeId: 'n' as NodeId, description: A_DESCRIPTION };
    const stream = this.way.dispatcher.session(request, signal)[Symbol.asyncIterator]();
    const first = await stream.next();
    assert.ok(first.done !== true);
    const over = stream.next().catch((error: unknown) => error);
    await settle();
    return { over };
  }
}

describe('the way to the managers', () => {
  it('stays the same when another manager leads: this one leads there', async () => {
    const managers = new Managers();
    for (const method of ['session', 'heartbeat', 'assignments'] as const) {
      const life = new AbortController();
      const { over } = await managers.open(life.signal);
      if (method === 'session') managers.end(ANOTHER_LEADS);
      else {
        const { heartbeat, assignments } = managers.way.dispatcher;
        const request = { nodeId: 'n' as NodeId, sessionId: 's' };
        const asked = method === 'heartbeat' ? heartbeat(request) : assignments(request)[Symbol.asyncIterator]().next();
        await settle();
        managers.end(ANOTHER_LEADS);
        await assert.rejects(asked, /another manager leads/);
        life.abort(new Error('session over'));
      }
      await over;
    }
    assert.deepEqual(managers.connected, ['m1:2377']);
  });

  it('is another when the connection is lost, or nothing is heard', async () => {
    const managers = new Managers();
    const first = await managers.open();
    managers.end(IS_LOST);
    await first.over;
    const silent = new AbortController();
    const second = await managers.open(silent.signal);
    silent.abort(new Error('a heartbeat was not answered'));
    await second.over;
    await managers.open();
    assert.deepEqual(managers.connected, ['m1:2377', 'm2:2377', 'm1:2377']);
  });

  it('is another when this one led, and leads no more: it may be cut off from those who know who does', async () => {
    const managers = new Managers();
    const { over } = await managers.open();
    managers.end(IS_DEPOSED);
    await over;
    await managers.open();
    assert.deepEqual(managers.connected, ['m1:2377', 'm2:2377']);
  });

  it('is another when no session can be opened: a manager without a majority knows no leader', async () => {
    const managers = new Managers();
    managers.refusal = new TsswarmError('UNAVAILABLE', 'no manager leads at the moment');
    await assert.rejects(managers.open(), /no manager leads/);
    managers.refusal = undefined;
    await managers.open();
    assert.deepEqual(managers.connected, ['m1:2377', 'm2:2377']);
  });

  it('is another when nothing is answered for 3 s, without those in which this process had no processor', async () => {
    const managers = new Managers();
    managers.isSilent = true;
    let outcome: unknown;
    const opening = managers.open().catch((error: unknown) => (outcome = error));
    await managers.clock.advance(1000);
    managers.clock.stall(20_000);
    await managers.clock.advance(1300);
    assert.equal(outcome, undefined);
    await managers.clock.advance(300);
    await opening;
    assert.match(String(outcome), /opening a session: no answer within 3000 ms/);
  });
});
