import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { StoreCommit, StoreWatch } from './types.ts';
import { WatchHub } from './watch.ts';

const commit = (version: number, changes = 1): StoreCommit => ({
  version,
  changes: Array.from({ length: changes }, () => ({ table: 'node', id: 'n' }) as never),
});

/** The versions that are there already; the watch is closed so that the loop ends. */
async function take(watch: StoreWatch, count: number): Promise<number[]> {
  const seen: number[] = [];
  if (count === 0) watch.close();
  for await (const { version } of watch) {
    seen.push(version);
    if (seen.length === count) break;
  }
  return seen;
}

const unavailable = (error: unknown): boolean => isTsswarmError(error, 'UNAVAILABLE');

describe('WatchHub.resume', () => {
  it('replays what came after the version, then goes on, without gap or repetition', async () => {
    const hub = new WatchHub();
    for (const version of [3, 5, 8]) hub.publish(commit(version));
    const watch = hub.resume(3, 8);
    hub.publish(commit(9));
    assert.deepEqual(await take(watch, 3), [5, 8, 9]);
  });

  it('takes a version between two commits: Raft has entries that change nothing', async () => {
    const hub = new WatchHub();
    for (const version of [3, 5, 8]) hub.publish(commit(version));
    assert.deepEqual(await take(hub.resume(6, 8), 1), [8]);
  });

  it('begins at the newest version even when nothing was kept', async () => {
    const hub = new WatchHub();
    const watch = hub.resume(40, 40);
    hub.publish(commit(41));
    assert.deepEqual(await take(watch, 1), [41]);
  });

  it('begins at the version that was restored, however much later the first commit came', async () => {
    const hub = new WatchHub();
    hub.publish(commit(45), 40);
    assert.deepEqual(await take(hub.resume(40, 45), 1), [45]);
    assert.throws(() => hub.resume(39, 45), unavailable);
  });

  it('refuses a version of which commits were dropped, at the very edge', async () => {
    const hub = new WatchHub();
    for (let version = 1; version <= 1_005; version++) hub.publish(commit(version));
    assert.throws(() => hub.resume(4, 1_005), unavailable);
    assert.equal((await take(hub.resume(5, 1_005), 1_000))[0], 6);
  });

  it('bounds what is kept by changes too', () => {
    const hub = new WatchHub();
    hub.publish(commit(1, 600));
    hub.publish(commit(2, 600));
    assert.throws(() => hub.resume(0, 2), unavailable);
    assert.doesNotThrow(() => hub.resume(1, 2).close());
  });

  it('refuses a version that is not here yet, and any old one after the state was replaced', () => {
    const hub = new WatchHub();
    hub.publish(commit(1));
    assert.throws(() => hub.resume(2, 1), unavailable);
    hub.close();
    assert.throws(() => hub.resume(1, 9), unavailable);
    hub.publish(commit(10));
    assert.throws(() => hub.resume(8, 10), unavailable);
    assert.doesNotThrow(() => hub.resume(9, 10).close());
  });
});
