/**
 * Writes log and snapshots as a server does, and kills itself (SIGKILL) right before its Nth step on the disk. Prints what
 * it was promised, as it is promised. A step is a call for a file (open, append, write, sync, list, rename, remove) or a
 * turn of the event loop while the log's database works.
 *
 * Usage: crash-writer.ts DIR N
 */
import { writeSync } from 'node:fs';
import * as files from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { systemRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import { openSnapshots } from '../../../manager/raft/snapshot/disk.ts';
import type { Entry } from '../../../manager/raft/types.ts';

const [dir = '', steps = '0'] = process.argv.slice(2);
let left = Number(steps);
const step = (): void => {
  if (left-- === 0) process.kill(process.pid, 'SIGKILL');
};

const vault = openVault(dekDisk(`${dir}/dek.json`, systemRandom), undefined, systemRandom);
const log = openLog(dir, systemClock, vault);
const snapshots = openSnapshots(`${dir}/snapshots`, { sealer: vault });
const probe = await files.open(dir, 'r');
const handle = Object.getPrototypeOf(probe) as Record<string, (...args: unknown[]) => unknown>;
await probe.close();
const patch = (object: Record<string, (...args: unknown[]) => unknown>, names: readonly string[]): void => {
  for (const name of names) {
    const original = object[name];
    if (original === undefined) throw new Error(`there is no "${name}" to watch`);
    object[name] = function (this: unknown, ...args: unknown[]) {
      step();
      return original.apply(this, args);
    };
  }
};
patch(handle, ['appendFile', 'write', 'sync']);
const { default: disk } = await import('node:fs');
patch(disk.promises as never, ['open', 'rename', 'rm', 'readdir']);
// The journal's: each write with its sync, and each confirmation.
patch(disk as never, ['write', 'openSync', 'fsyncSync', 'rmSync']);
syncBuiltinESMExports();

/** Steps through the turns that a write of the log takes. */
async function turns(work: Promise<void>): Promise<void> {
  let done = false;
  const end = work.finally(() => (done = true));
  // The number of turns is the database's: those after the third are all the same to it.
  for (let i = 0; i < 3 && !done; i++) {
    step();
    await new Promise(setImmediate);
  }
  await end;
}
const promised = (what: string): void => void writeSync(1, `${what}\n`);
const entry = (index: number, term: number): Entry => ({ index, term, kind: 'command', payload: Buffer.from([term]) });
const range = (from: number, to: number, term: number): Entry[] =>
  Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term));
const save = (index: number, term: number): Promise<void> =>
  snapshots.save({ index, term, configuration: { index: 0, servers: [] } }, [
    Buffer.from('a'),
    Buffer.from(`${index}`),
  ]);

await turns(log.write({ hardState: { term: 1, votedFor: 'a' }, entries: range(1, 10, 1) }));
promised('log 1 10 1');
await turns(log.write({ hardState: { term: 2, votedFor: 'b' }, truncateFrom: 6, entries: range(6, 8, 2) }));
promised('log 1 8 2');
for (const index of [3, 5, 7]) {
  await save(index, index > 5 ? 2 : 1);
  promised(`snapshot ${index}`);
  await turns(log.truncatePrefix(index));
  promised(`log ${index + 1} 8 2`);
}
await save(20, 3);
promised('snapshot 20');
await turns(log.reset(20));
promised('log 21 20 2');
await log.close();
promised('end');
