import assert from 'node:assert/strict';
import { silentLogger } from '../../../base/log.ts';
import type { NodeLease } from '../../../node-engine/types.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { keepLease } from './loop.ts';

/** A node's lease in memory, counted by the same clock. */
function fixture(leftMs?: number) {
  const clock = new VirtualClock();
  let end = leftMs === undefined ? undefined : clock.monotonic() + leftMs;
  const file: NodeLease = { now: () => clock.monotonic(), read: () => end, set: (next) => (end = next) };
  const stages: string[] = [];
  const keep = () =>
    keepLease({ lease: file, clock, logger: silentLogger, onChange: () => stages.push(keeper.stage()) });
  const keeper = keep();
  return { clock, file, keeper, stages, end: () => end };
}

describe('the lease of a node', () => {
  it('is counted from when the manager was asked, whenever it answers', async () => {
    const { clock, keeper, end } = fixture();
    const sentAt = keeper.now();
    await clock.advance(2000);
    keeper.renew(sentAt, 5500);
    assert.equal(end(), sentAt + 5500);
    assert.equal(keeper.leftMs(), 3500);
    assert.equal(keeper.mayStart(), true);
  });

  it('ends in two steps, each of them told, and begins anew', async () => {
    const { clock, keeper, stages } = fixture();
    keeper.renew(keeper.now(), 5500);
    stages.length = 0;
    await clock.advance(4499);
    assert.deepEqual(stages, []);
    await clock.advance(1);
    assert.deepEqual(stages, ['ending']);
    assert.equal(keeper.mayStart(), false);
    await clock.advance(1000);
    assert.deepEqual(stages, ['ending', 'over']);
    assert.equal(keeper.claim(), undefined);
    keeper.renew(keeper.now(), 5500);
    assert.deepEqual(stages.at(-1), 'held');
    assert.equal(keeper.claim(), 5500);
  });

  it('is told to have run out before it begins anew, also when nobody could look meanwhile', () => {
    let time = 0;
    const clock = { now: () => time, monotonic: () => time, startTimer: () => ({ cancel: () => undefined }) };
    const stages: string[] = [];
    const keeper = keepLease({
      lease: undefined,
      clock,
      logger: silentLogger,
      onChange: () => stages.push(keeper.stage()),
    });
    keeper.renew(0, 5500);
    stages.length = 0;
    time = 60_000;
    keeper.renew(59_999, 5500);
    assert.deepEqual(stages, ['over', 'held']);
  });

  it('of the life before is gone on with; without one nothing is started', () => {
    const before = fixture(3000);
    assert.deepEqual([before.keeper.stage(), before.keeper.claim(), before.keeper.mayStart()], ['held', 3000, true]);
    const first = fixture();
    assert.deepEqual([first.keeper.stage(), first.keeper.claim(), first.keeper.mayStart()], ['held', 5500, false]);
    const endless = fixture(Infinity);
    assert.deepEqual([endless.keeper.claim(), endless.keeper.leftMs()], [0, Infinity]);
  });

  it('that gets an end is said to have none until supervisors have seen it', async () => {
    const { clock, keeper } = fixture(Infinity);
    keeper.renew(keeper.now(), 5500);
    assert.equal(keeper.claim(), 0);
    await clock.advance(1999);
    assert.equal(keeper.claim(), 0);
    await clock.advance(1);
    assert.equal(keeper.claim(), 5500);
    keeper.renew(keeper.now(), 0);
    assert.equal(keeper.claim(), 0);
  });

  it('stays as it was when supervisors cannot be told', () => {
    const { file, keeper } = fixture();
    keeper.renew(keeper.now(), 5500);
    file.set = () => {
      throw new Error('no space left on device');
    };
    keeper.renew(keeper.now(), 60_000);
    assert.equal(keeper.leftMs(), 5500);
  });
});
