/**
 * Raft and the store under load. All files of a run are on the repository's own disk.
 *
 * Usage: npm run bench:raft                       puts: one member and three, beside etcd with one, three, and three over TLS
 *        npm run bench:raft -- SECONDS_PER_TURN   the same with turns of another length (default 5)
 *        npm run bench:raft -- failover [KILLS]   time without a leader after kill -9 of it, and that nothing is lost (50)
 *        npm run bench:raft -- etcd-store [SECONDS]  puts to the store that an external etcd keeps, beside that etcd (1.5)
 *        npm run bench:raft -- snapshot [OBJECTS] a snapshot and its restore: stalls, size, memory (100000)
 *        npm run bench:raft -- sealing [ENTRIES]  what sealing adds to a write of the log (2560)
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { measureEtcdStore } from './etcd-store.ts';
import { measureFailover } from './failover.ts';
import { measurePuts } from './puts.ts';
import { measureSealing } from './sealing.ts';
import { measureSnapshot } from './snapshot.ts';

const [what = '5', amount] = process.argv.slice(2);
const cache = join(import.meta.dirname, '..', '..', '.cache');
mkdirSync(cache, { recursive: true });
const dir = mkdtempSync(join(cache, 'bench-raft-'));
try {
  if (what === 'failover') await measureFailover(dir, positive(amount ?? '50', 'kills'));
  else if (what === 'etcd-store') await measureEtcdStore(dir, positive(amount ?? '1.5', 'seconds per turn'));
  else if (what === 'snapshot') await measureSnapshot(dir, positive(amount ?? '100000', 'objects'));
  else if (what === 'sealing') await measureSealing(dir, positive(amount ?? '2560', 'entries'));
  else await measurePuts(dir, positive(what, 'seconds per turn'));
} finally {
  rmSync(dir, { recursive: true });
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`reading the ${name} "${text}": a number above 0 was expected`);
  return value;
}
