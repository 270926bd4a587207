import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../../base/clock.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { openStore } from '../../../manager/store/index.ts';

const ROUNDS = 15;
const open = (dir: string) =>
  openStore({
    dir,
    id: 'a',
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    onFatal: (error) => assert.fail(error),
    snapshotEvery: 50,
    trailing: 10,
  });

describe('the store after kill -9', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-durability-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it(`has everything that was acknowledged, ${ROUNDS} times`, async () => {
    const acknowledged = new Set<string>();
    let next = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'writer.ts'), dir, String(next)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const wanted = 1 + ((round * 37) % 90);
      let seen = 0;
      for await (const name of createInterface({ input: child.stdout })) {
        acknowledged.add(name);
        if (++seen === wanted) child.kill('SIGKILL');
      }
      const { store, close } = await open(dir);
      const names = store.view((tx) => tx.list('project').map(({ name }) => name));
      await close();
      for (const name of acknowledged) assert.ok(names.includes(name), `${name} was acknowledged and is gone`);
      next = Math.max(...names.map((name) => Number(name.slice(1)))) + 1;
      assert.equal(names.length, next, 'no write is missing in the middle');
    }
    assert.ok(readdirSync(join(dir, 'snapshots')).length > 0, 'snapshots were taken');
  });

  it('refuses a log whose bytes were changed, and says so', async () => {
    const opened = await open(dir);
    await opened.store.update((tx) =>
      tx.create('project', {
        id: 'x' as never,
        meta: { version: 0, createdAt: 0, updatedAt: 0 },
        name: 'findme-findme',
        revision: 1,
        hash: '',
        workingDir: '/',
        configFiles: [],
      }),
    );
    await opened.close();
    const path = join(dir, 'log.mdb');
    const bytes = readFileSync(path);
    const at = bytes.indexOf('findme-findme');
    assert.ok(at > 0);
    bytes.write('F', at);
    writeFileSync(path, bytes);
    await assert.rejects(open(dir), (error) => {
      assert.ok(isTsswarmError(error, 'CORRUPT'));
      assert.match(error.message, /log\.mdb": entry \d+ fails its checksum/);
      return true;
    });
  });
});
