import assert from 'node:assert/strict';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { Slices } from './slices.ts';

describe('what is done for many', () => {
  it('is done in slices, in between which everything else has its turn', async () => {
    let workMs = 0;
    let goOn: () => void = () => undefined;
    const clock = {
      monotonic: () => workMs,
      startTimer: (_: number, fire: () => void) => {
        goOn = fire;
        return { cancel: () => undefined };
      },
    };
    const slices = new Slices(clock, () => 51);
    let done = 0;
    const one = async (): Promise<void> => {
      for (let pause = slices.full(); pause !== undefined; pause = slices.full()) await pause;
      slices.spend(() => (workMs += 3));
      done++;
    };
    const all = Promise.all(Array.from({ length: 10 }, one));
    await settle();
    assert.equal(done, 4, 'as many as are begun within 10 ms');
    goOn();
    await settle();
    assert.equal(done, 8);
    goOn();
    await all;
    assert.equal(done, 10);
  });

  it('is done at once for few', () => {
    let workMs = 0;
    const clock = { monotonic: () => workMs, startTimer: () => assert.fail('nobody waits') };
    const slices = new Slices(clock, () => 50);
    for (let i = 0; i < 100; i++) {
      assert.equal(slices.full(), undefined);
      slices.spend(() => (workMs += 3));
    }
  });

  it('does not wait where nothing takes time', async () => {
    const slices = new Slices(new VirtualClock(), () => 1000);
    for (let i = 0; i < 1000; i++) {
      assert.equal(slices.full(), undefined);
      assert.equal(
        slices.spend(() => i),
        i,
      );
    }
    await settle();
  });
});
