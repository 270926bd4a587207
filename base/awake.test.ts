import assert from 'node:assert/strict';
import { VirtualClock } from '../test/fakes/virtual-clock.ts';
import { sleepAwake } from './awake.ts';

describe('a wait that counts only what a process could have noticed', () => {
  /** @returns when it was over, ms after it began */
  async function waited(stalls: readonly (readonly [at: number, ms: number])[]): Promise<number> {
    const clock = new VirtualClock();
    const began = clock.monotonic();
    let over: number | undefined;
    void sleepAwake(clock, 1000).then(() => (over = clock.monotonic() - began));
    for (const [at, ms] of stalls) {
      await clock.advance(began + at - clock.monotonic());
      clock.stall(ms);
    }
    await clock.advance(20_000);
    return over ?? Infinity;
  }

  it('is as long as it says where nothing is late', async () => assert.equal(await waited([]), 1000));

  it('is longer by what the process lost, but for a tenth of the wait each time', async () => {
    assert.equal(await waited([[50, 5000]]), 5850);
    assert.equal(
      await waited([
        [50, 5000],
        [5300, 3000],
      ]),
      8700,
    );
  });

  it('ends with the reason of its signal', async () => {
    const clock = new VirtualClock();
    const enough = new AbortController();
    const waiting = sleepAwake(clock, 1000, enough.signal);
    const failed = assert.rejects(waiting, /enough/);
    await clock.advance(300);
    enough.abort(new Error('enough'));
    await failed;
  });
});
