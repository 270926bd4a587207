import assert from 'node:assert/strict';
import { deferred } from '../../base/async.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { Applier } from './applier.ts';
import { RaftLog } from './core/log.ts';
import type { Entry } from './types.ts';

const ENTRIES = 200;

/** An applier in the middle of 200 committed entries: every one takes longer than a slice may. */
function busyApplier() {
  const entries: Entry[] = Array.from({ length: ENTRIES }, (_, i) => ({
    index: i + 1,
    term: 1,
    kind: 'command',
    payload: new Uint8Array([1]),
  }));
  const disk = { read: (from: number, to: number) => entries.slice(from - 1, to) };
  const log = new RaftLog({ index: 0, term: 0 }, [{ index: 1, term: 1 }], ENTRIES, disk as never, 0);
  const clock = new VirtualClock();
  let elapsed = 0;
  const slow = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic() + elapsed,
    startTimer: (ms: number, fire: () => void) => clock.startTimer(ms, fire),
  };
  const applied: number[] = [];
  const applier = new Applier({
    log,
    clock: slow,
    appliedIndex: 0,
    apply: ({ index }) => {
      applied.push(index);
      elapsed += 10;
    },
    progressed: () => undefined,
  });
  applier.commit(ENTRIES);
  assert.ok(applied.length > 0 && applied.length < ENTRIES, `${applied.length} applied in the first slice`);
  return { applier, applied, clock, entries };
}

describe('the applier', () => {
  it('goes on after a slice', async () => {
    const { applied, clock } = busyApplier();
    await clock.advance(100);
    assert.equal(applied.length, ENTRIES);
  });

  it('applies nothing while a snapshot takes the place of the log, though a slice was to follow', async () => {
    const { applier, applied, clock, entries } = busyApplier();
    const before = applied.length;
    applier.hold();
    entries.length = 0;
    await clock.advance(100);
    assert.equal(applied.length, before);
    applier.restored(ENTRIES + 50);
    await clock.advance(100);
    assert.equal(applied.length, before);
    assert.equal(applier.appliedIndex, ENTRIES + 50);
  });

  it('goes on behind the snapshot', async () => {
    const { applier, applied, clock } = busyApplier();
    applier.hold();
    await clock.advance(100);
    const read = deferred<void>();
    applier.read(ENTRIES, read);
    applier.restored(ENTRIES - 2);
    await clock.advance(100);
    await read.promise;
    assert.deepEqual(applied.slice(-2), [ENTRIES - 1, ENTRIES]);
  });
});
