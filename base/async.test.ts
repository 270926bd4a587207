import assert from 'node:assert/strict';
import { VirtualClock } from '../test/fakes/virtual-clock.ts';
import { Coalesced, KeyedQueue, Semaphore, backoffMs, deferred, sleep } from './async.ts';

describe('sleep()', () => {
  it('ends when its time has passed', async () => {
    const clock = new VirtualClock();
    let woke = false;
    void sleep(clock, 100).then(() => (woke = true));
    await clock.advance(99);
    assert.equal(woke, false);
    await clock.advance(1);
    assert.equal(woke, true);
  });

  it('ends with the signal, and at once when it is aborted already', async () => {
    const controller = new AbortController();
    const sleeping = sleep(new VirtualClock(), 100, controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(sleeping, /enough/);
    await assert.rejects(sleep(new VirtualClock(), 100, controller.signal), /enough/);
  });
});

describe('backoffMs()', () => {
  it('doubles up to its limit', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 60].map((attempt) => backoffMs(attempt, 100, 1000)),
      [100, 200, 400, 800, 1000, 1000],
    );
  });
});

describe('Semaphore', () => {
  it('lets as many in as it has places, the others in order, and survives failures', async () => {
    const semaphore = new Semaphore(2);
    const gates = [deferred<void>(), deferred<void>(), deferred<void>()];
    const entered: number[] = [];
    const works = gates.map((gate, i) =>
      semaphore.use(async () => {
        entered.push(i);
        await gate.promise;
        if (i === 0) throw new Error('first');
      }),
    );
    await Promise.resolve();
    assert.deepEqual(entered, [0, 1]);
    gates[0]?.resolve();
    await assert.rejects(works[0] ?? Promise.resolve(), /first/);
    assert.deepEqual(entered, [0, 1, 2]);
    gates[1]?.resolve();
    gates[2]?.resolve();
    await Promise.all(works.slice(1));
  });
});

describe('KeyedQueue', () => {
  it('runs works of one key in order, also after a failure, and of two keys side by side', async () => {
    const queue = new KeyedQueue();
    const gate = deferred<void>();
    const order: string[] = [];
    const first = queue.run('a', async () => {
      await gate.promise;
      order.push('a1');
      throw new Error('a1');
    });
    const second = queue.run('a', () => Promise.resolve(order.push('a2')));
    await queue.run('b', () => Promise.resolve(order.push('b1')));
    gate.resolve();
    await assert.rejects(first, /a1/);
    await second;
    assert.deepEqual(order, ['b1', 'a1', 'a2']);
  });
});

describe('Coalesced', () => {
  it('gives all who ask during a run one more run together', async () => {
    const gates = [deferred<void>(), deferred<void>()];
    let runs = 0;
    const coalesced = new Coalesced(async () => gates[runs++]?.promise);
    const first = coalesced.run();
    await Promise.resolve();
    await Promise.resolve();
    const later = [coalesced.run(), coalesced.run()];
    gates[0]?.resolve();
    gates[1]?.resolve();
    await Promise.all([first, ...later, coalesced.settled()]);
    assert.equal(runs, 2);
  });

  it('serves who asks in any moment around the end of a run', async () => {
    for (let turns = 0; turns < 12; turns++) {
      let state = 0;
      let seen = -1;
      const coalesced = new Coalesced(async () => {
        seen = state;
        await Promise.resolve();
      });
      void coalesced.run();
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      state = 1;
      await coalesced.run();
      assert.equal(seen, 1, `asked after ${turns} turns`);
    }
  });
});
