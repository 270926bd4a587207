import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import { dekFile, openStore } from '../../../manager/store/index.ts';
import { kekThatFits } from './locking-keys.ts';

const ROUNDS = 12;

describe('the store after kill -9 while its keys are changed', function () {
  this.timeout(120_000);
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-locking-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it(`opens with the key that locks it, and has everything that was acknowledged, ${ROUNDS} times`, async () => {
    const acknowledged = new Set<string>();
    let next = 0;
    let changes = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'locking-writer.ts'), dir, String(next)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const wanted = 3 + ((round * 37) % 60);
      let seen = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        if (line === 'locked') changes++;
        else acknowledged.add(line);
        if (++seen === wanted) child.kill('SIGKILL');
      }
      const disk = dekDisk(dekFile(dir), systemRandom);
      const { store, close } = await openStore({
        dir,
        id: 'a',
        vault: openVault(disk, kekThatFits(disk.lock()), systemRandom),
        clock: systemClock,
        random: systemRandom,
        logger: silentLogger,
        onFatal: (error) => assert.fail(error),
        snapshotEvery: 50,
        trailing: 10,
      });
      const names = store.view((tx) => tx.list('project').map(({ name }) => name));
      await close();
      for (const name of acknowledged) assert.ok(names.includes(name), `${name} was acknowledged and is gone`);
      next = names.length;
    }
    assert.ok(changes >= ROUNDS, `${changes} changes of the lock`);
    assert.ok(acknowledged.size >= ROUNDS, `${acknowledged.size} writes`);
  });
});
