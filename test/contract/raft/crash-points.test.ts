import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import { restore } from '../../../manager/raft/restore.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import { openSnapshots } from '../../../manager/raft/snapshot/disk.ts';

/** More steps than the writer has: the loop ends where the writer does. */
const MOST = 200;
/** States of the log in the order in which the writer makes them: first and last index, term. */
const LOGS = ['1 0 0', '1 10 1', '1 8 2', '4 8 2', '6 8 2', '8 8 2', '21 20 2'];
const SNAPSHOTS = [0, 3, 5, 7, 20];

describe('log and snapshots after kill -9 at any step', function () {
  this.timeout(180_000);

  it('have all that was promised, and of what was not, all or nothing', async () => {
    let points = 0;
    for (let step = 0; step < MOST; step++) {
      const dir = mkdtempSync(join(tmpdir(), 'tsswarm-crash-point-'));
      try {
        const writer = join(import.meta.dirname, 'crash-writer.ts');
        const { stdout, stderr, signal, status } = spawnSync(process.execPath, [writer, dir, String(step)], {
          encoding: 'utf8',
        });
        const promised = stdout.split('\n').slice(0, -1);
        await check(dir, promised, step);
        if (promised.at(-1) === 'end') break;
        assert.equal(signal, 'SIGKILL', `the writer ended with code ${status}: ${stderr}`);
        points++;
      } finally {
        rmSync(dir, { recursive: true });
      }
    }
    // Seven writes of the log, and eight steps or more for each of four snapshots.
    assert.ok(points >= 7 + 4 * 8 && points < MOST, `${points} crash points`);
  });
});

/** Looks at the disk as the next start does. */
async function check(dir: string, promised: readonly string[], step: number): Promise<void> {
  const said = promised.at(-1) ?? 'nothing';
  const last = (kind: string): string | undefined =>
    promised.findLast((line) => line.startsWith(`${kind} `))?.slice(kind.length + 1);
  const vault = openVault(dekDisk(`${dir}/dek.json`, systemRandom), undefined, systemRandom);
  const snapshot = openSnapshots(`${dir}/snapshots`, { sealer: vault }).latest();
  const index = snapshot?.index ?? 0;
  const saved = SNAPSHOTS.indexOf(Number(last('snapshot') ?? 0));
  const context = `killed before step ${step}, after "${said}"`;
  assert.ok(SNAPSHOTS.slice(saved, saved + 2).includes(index), `${context}: the snapshot is that of ${index}`);
  if (snapshot !== undefined) assert.equal(Buffer.from(snapshot.data).toString(), `a${index}`, context);
  const log = openLog(dir, systemClock, vault);
  try {
    const state = `${log.firstIndex} ${log.lastIndex} ${log.hardState.term}`;
    const written = LOGS.indexOf(last('log') ?? '1 0 0');
    assert.ok(LOGS.slice(written, written + 2).includes(state), `${context}: the log is ${state}`);
    const entries = [...log.read(log.firstIndex, log.lastIndex)];
    assert.equal(entries.length, log.lastIndex - log.firstIndex + 1, context);
    const self = { id: 'a', address: '', voter: true };
    const restored = await restore(log, snapshot, self, { bootstrap: 'join', forceNewCluster: false });
    assert.ok(restored.log.lastIndex >= index, `${context}: the log ends before the snapshot`);
  } finally {
    await log.close();
  }
}
