import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../base/clock.ts';
import { systemRandom } from '../../base/random.ts';
import type { ConfigId, ProjectId } from '../../base/ids.ts';
import { KEY_BYTES, sealer } from '../../manager/raft/seal/index.ts';
import { openSnapshots } from '../../manager/raft/snapshot/disk.ts';
import { Database } from '../../manager/store/database.ts';
import { decodeSnapshot, encodeSnapshot } from '../../manager/store/snapshot.ts';
import type { StoreChange } from '../../manager/store/types.ts';

/** With its names and labels an object is about 1 KiB: 100,000 are about 100 MB. */
const DATA_BYTES = 900;

/** Writes a store of `objects` objects as a snapshot to disk and restores it. Prints times, stalls, size and memory. */
export async function measureSnapshot(dir: string, objects: number): Promise<void> {
  const database = new Database();
  const data = Buffer.alloc(DATA_BYTES, 'd');
  const changes = Array.from({ length: objects }, (_, i) => {
    const after = {
      id: `config-${i}` as ConfigId,
      meta: { version: 1, createdAt: 1, updatedAt: 1 },
      projectId: `project-${i % 100}` as ProjectId,
      spec: { name: `name-${i}`, composeName: `name-${i}`, labels: { number: String(i) }, data },
    };
    return { table: 'config', id: after.id, before: undefined, after: Object.freeze(after) } as StoreChange;
  });
  database.apply(1, changes);
  changes.length = 0;
  // What building it left behind is the benchmark's own, and is collected before the clock runs.
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  mkdirSync(dir, { recursive: true });
  const snapshots = openSnapshots(join(dir, 'snapshots'), {
    sealer: sealer(systemRandom.bytes(KEY_BYTES), systemRandom),
  });
  const meta = { index: 1, term: 1, configuration: { index: 0, servers: [] } };

  const encoding = await watched(() => snapshots.save(meta, encodeSnapshot(database, systemClock)));
  const [file] = readdirSync(join(dir, 'snapshots'));
  const bytes = statSync(join(dir, 'snapshots', file ?? '')).size;
  const reading = await watched(() => Promise.resolve(snapshots.latest()));
  const snapshot = reading.result;
  if (snapshot === undefined) throw new Error('reading the snapshot: it is not there');
  const restoring = await watched(() => decodeSnapshot(snapshot.data, systemClock));
  const restored = restoring.result.committed.list('config').length;
  if (restored !== objects) throw new Error(`restoring the snapshot: ${restored} of ${objects} objects are there`);

  console.log(`${objects} objects, ${(bytes / 1e6).toFixed(0)} MB on disk`);
  const show = (name: string, { ms, stallMs }: Watched<unknown>): void =>
    console.log(
      `${name.padEnd(24)} ${ms.toFixed(0).padStart(6)} ms, longest stall ${stallMs.toFixed(0).padStart(4)} ms`,
    );
  show('encode and write', encoding);
  show('read the file (at start)', reading);
  show('restore', restoring);
  console.log(`memory at the end: ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`);
}

interface Watched<T> {
  readonly result: T;
  readonly ms: number;
  /** The longest time that nothing else could run. */
  readonly stallMs: number;
}

async function watched<T>(work: () => T | Promise<T>): Promise<Watched<T>> {
  const resolution = 5;
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  // The first sample begins with the first turn.
  await new Promise((resolve) => setTimeout(resolve, 4 * resolution));
  histogram.reset();
  const started = performance.now();
  const result = await work();
  const ms = performance.now() - started;
  await new Promise((resolve) => setTimeout(resolve, 4 * resolution));
  histogram.disable();
  return { result, ms, stallMs: Math.max(0, histogram.max / 1e6 - resolution) };
}
