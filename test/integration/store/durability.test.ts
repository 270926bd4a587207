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
import { keyIdOf } from '../../../manager/raft/seal/index.ts';
import { dekFile, openStore } from '../../../manager/store/index.ts';

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
    await writeSecret();
    const path = join(dir, 'log.mdb');
    const bytes = readFileSync(path);
    assert.ok(!bytes.includes('findme'), 'what is secret does not lie there');
    // The newest entry that is sealed by the key: behind its id come salt and counter.
    const at = bytes.lastIndexOf(Buffer.from(keyIdOf(keyOnDisk()), 'hex')) + 40;
    bytes.writeUInt8((bytes[at] ?? 0) ^ 1, at);
    writeFileSync(path, bytes);
    await assert.rejects(open(dir), (error) => {
      assert.ok(isTsswarmError(error, 'CORRUPT'));
      assert.match(error.message, /log\.mdb": entry \d+ fails its checksum/);
      return true;
    });
  });

  it('refuses a log whose keys are not the ones beside it', async () => {
    await writeSecret();
    rmSync(dekFile(dir));
    await assert.rejects(open(dir), (error) => {
      assert.ok(isTsswarmError(error, 'PERMISSION_DENIED'));
      assert.match(error.message, /entry 1 of the log .*sealed with the key "[0-9a-f]{16}", which is not here/);
      assert.ok(error.hint);
      return true;
    });
  });

  /** Leaves a store with something in it, closed. */
  async function writeSecret(): Promise<void> {
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
  }
  const keyOnDisk = (): Uint8Array =>
    Buffer.from((JSON.parse(readFileSync(dekFile(dir), 'utf8')) as { keys: string[] }).keys[0] ?? '', 'base64');
});
