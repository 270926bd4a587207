import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../../base/errors.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import type { Entry } from '../../../manager/raft/types.ts';

describe('the log on a disk without room', () => {
  let disk: string;
  beforeEach(() => {
    disk = mkdtempSync(join(tmpdir(), 'tsswarm-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk]);
  });
  afterEach(() => {
    execFileSync('umount', ['-l', disk]);
    rmdirSync(disk);
  });

  const entry = (index: number): Entry => ({
    index,
    term: 1,
    kind: 'command',
    payload: Buffer.alloc(60_000, index & 0xff),
  });

  /** Takes all the room that is left. */
  const fill = (): void => {
    try {
      writeFileSync(join(disk, 'filler'), Buffer.alloc(32 << 20));
    } catch {
      // As much of it as there was room for is there.
    }
  };

  it('says so, and has everything it promised once there is room again', async () => {
    const dir = join(disk, 'log');
    const log = openLog(dir, systemClock);
    await log.write({ hardState: { term: 1, votedFor: 'a' }, entries: [entry(1)] });
    fill();
    let promised = 1;
    const failed = await (async () => {
      for (let index = 2; index < 400; index++) {
        await log.write({ entries: [entry(index)] });
        promised = index;
      }
      return undefined;
    })().catch((error: unknown) => error);
    assert.ok(isTsswarmError(failed, 'DISK_FULL'), String(failed));
    assert.match(failed.message, /No space left on device/);
    await assert.rejects(log.write({ entries: [entry(promised + 1)] }), 'a log that failed takes nothing more');
    await log.close();

    assert.throws(() => openLog(dir, systemClock), { code: 'DISK_FULL' });
    rmSync(join(disk, 'filler'));
    const again = openLog(dir, systemClock);
    assert.ok(again.lastIndex >= promised, `${again.lastIndex} of ${promised}`);
    assert.deepEqual(again.hardState, { term: 1, votedFor: 'a' });
    for (const { index, payload } of again.read(1, promised))
      assert.ok(payload.every((byte) => byte === (index & 0xff)));
    await again.write({ entries: [entry(again.lastIndex + 1)] });
    await again.close();
  });
});
