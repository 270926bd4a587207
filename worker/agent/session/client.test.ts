import assert from 'node:assert/strict';
import { sleep } from '../../../base/async.ts';
import type { NodeId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import { node } from '../../../test/builders/objects.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import { createBindSources } from '../bind-sources.ts';
import { createSession } from './client.ts';
import type { SessionOptions } from './client.ts';

const options = () => ({
  nodeId: 'one' as NodeId,
  describe: () => node('one').description,
  images: () => [],
  random: seededRandom(1),
  logger: silentLogger,
  onChange: () => undefined,
  isOutdated: () => false,
  onSession: () => undefined,
});

/** A session with a manager that answers everything. */
function fixture(change: Partial<SessionOptions> = {}, unanswered = 0, answerMs = 0, leaseMs = 4000) {
  const clock = new VirtualClock();
  const life = new AbortController();
  const begun: number[] = [];
  /** Images as they were said: with the session, with each heartbeat. */
  const said: (readonly string[] | undefined)[] = [];
  let beats = 0;
  const until = (signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
  const dispatcher: SessionOptions['dispatcher'] = {
    async *session({ images }, signal) {
      said.push(images?.keys);
      begun.push(clock.now());
      yield { sessionId: String(begun.length), heartbeatMs: 1000, managers: [], leaseMs };
      await until(signal);
    },
    async *assignments(_, signal) {
      await until(signal);
    },
    heartbeat: async ({ images }, signal) => {
      said.push(images?.keys);
      if (answerMs > 0) await sleep(clock, answerMs, signal);
      return beats++ < unanswered ? await Promise.reject(new Error('lost')) : { heartbeatMs: 1000, leaseMs };
    },
    acknowledge: () => Promise.resolve({}),
    updateTaskStatus: () => Promise.resolve({}),
  };
  const session = createSession({
    ...options(),
    dispatcher,
    clock,
    lease: { now: () => clock.monotonic(), claim: () => undefined, renew: () => undefined },
    ...change,
  });
  const running = session.run(life.signal);
  const close = async (): Promise<void> => {
    life.abort(new Error('closed'));
    await settle();
    await clock.advance(10);
    await running;
  };
  return { clock, session, begun, said, close };
}

describe('the session of an agent', () => {
  it('lasts as long as its heartbeats are answered', async () => {
    const { clock, begun, close } = fixture();
    await clock.advance(20_000);
    assert.equal(begun.length, 1);
    await close();
  });

  it('is given up when a heartbeat is not answered, later if something else is and the lease allows', async () => {
    const report = { updates: [], removedVolumes: [], removedNetworks: [] };
    // Silence is waited for for a second and a half; who hears something waits for twice that, and leaves 3.5 s of the lease.
    for (const [answerMs, leaseMs, speaks, lasts] of [
      [1400, 4000, false, true],
      [2400, 10_000, false, false],
      [2400, 10_000, true, true],
      [2900, 0, true, true],
      [3500, 10_000, true, false],
      [2400, 6000, true, true],
      [2600, 6000, true, false],
      [1600, 4000, true, false],
    ] as const) {
      const { clock, session, begun, close } = fixture({}, 0, answerMs, leaseMs);
      for (let second = 0; second < 20; second++) {
        await clock.advance(1000);
        if (speaks) await session.send(report).catch(() => undefined);
      }
      assert.equal(begun.length === 1, lasts, `${answerMs} of ${leaseMs} ms, ${speaks}: ${begun.length} sessions`);
      await close();
    }
  });

  it('is not given up for what was not heard while this process had no processor', async () => {
    for (const [answerMs, lasts] of [
      [1000, true],
      [1_000_000, false],
    ] as const) {
      const { clock, begun, close } = fixture({}, 0, answerMs);
      for (let beat = 0; beat < 5; beat++) {
        await clock.advance(1100);
        clock.stall(10_000);
        await clock.advance(1000);
      }
      assert.equal(begun.length === 1, lasts, `answered in ${answerMs} ms: ${begun.length} sessions`);
      await close();
    }
  });

  it('says which images the node has when it begins, and again when they have changed', async () => {
    let images: readonly string[] = ['a'];
    const { clock, said, close } = fixture({ images: () => images });
    await clock.advance(3_500);
    assert.deepEqual(said, [['a'], undefined, undefined, undefined]);
    images = ['a', 'b'];
    await clock.advance(2_000);
    assert.deepEqual(said.slice(4), [['a', 'b'], undefined]);
    await close();
  });

  it('says them again when the answer was lost', async () => {
    const { clock, said, close } = fixture({ images: () => (said.length === 0 ? ['a'] : ['b']) }, 1);
    await clock.advance(8_000);
    assert.deepEqual(said.slice(0, 4), [['a'], ['b'], ['b'], undefined]);
    await close();
  });

  it('begins anew when what was told in it may be true no more', async () => {
    let told = 0;
    const { clock, begun, close } = fixture({ onSession: () => told++, isOutdated: () => told === 1 });
    await clock.advance(20_000);
    assert.equal(begun.length, 2);
    await close();
  });

  it('says at once which of the paths that it is asked for are here', async () => {
    const said: unknown[] = [];
    let ask = (_paths: readonly string[]): void => undefined;
    const clock = new VirtualClock();
    const life = new AbortController();
    const bindSources = createBindSources({
      exists: (path) => Promise.resolve(path === '/srv'),
      clock,
      onChange: () => session.hurry(),
    });
    const session = createSession({
      ...options(),
      clock,
      bindSources,
      lease: { now: () => clock.monotonic(), claim: () => undefined, renew: () => undefined },
      dispatcher: {
        async *session(request, signal) {
          said.push(request.bindSources);
          yield { sessionId: 's', heartbeatMs: 1000, managers: [], bindSources: ['/srv'] };
          for (;;) {
            const wanted = await new Promise<readonly string[] | undefined>((resolve) => {
              ask = resolve;
              signal?.addEventListener('abort', () => resolve(undefined), { once: true });
            });
            if (wanted === undefined) return;
            yield { sessionId: 's', heartbeatMs: 1000, managers: [], bindSources: wanted };
          }
        },
        async *assignments(_, signal) {
          await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
        },
        heartbeat(request) {
          said.push(request.bindSources);
          return Promise.resolve({ heartbeatMs: 1000 });
        },
        acknowledge: () => Promise.resolve({}),
        updateTaskStatus: () => Promise.resolve({}),
      },
    });
    const running = session.run(life.signal);
    await settle();
    const first = { present: ['/srv'], missing: [] };
    assert.deepEqual(said, [{ present: [], missing: [] }, first], 'with the session, and without waiting');
    ask(['/none', '/srv']);
    await settle();
    assert.deepEqual(said.slice(2), [{ present: ['/srv'], missing: ['/none'] }]);
    ask(['/none', '/srv']);
    await settle();
    assert.deepEqual(said.slice(3), said.slice(2, 3), 'asked again, it says it again');
    await clock.advance(5000);
    assert.deepEqual(new Set(said.slice(4)), new Set([undefined]), 'nothing else is said while nothing changes');
    assert.ok(said.length > 6, 'heartbeats go on');
    life.abort(new Error('closed'));
    await clock.advance(10);
    await running;
  });
});
