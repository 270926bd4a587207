import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import { seededRandom, systemRandom } from '../../../base/random.ts';
import {
  SEAL_OVERHEAD_BYTES,
  dekDisk,
  dropOldDeks,
  lockDekRing,
  lockOf,
  newDekRing,
  newUnlockKey,
  parseUnlockKey,
  rotateDek,
  sealer,
  unlockDekRing,
} from './index.ts';

const random = systemRandom;
const text = (value: string): Uint8Array => Buffer.from(value);
const fails = (code: ErrorCode, work: () => unknown, message = /./): void =>
  assert.throws(work, (error) => isTsswarmError(error, code) && message.test(error.message));

describe('sealed bytes', () => {
  const key = random.bytes(32);

  it('open to what was sealed, by another sealer with the same key too', () => {
    for (const plain of ['', 'a', 'x'.repeat(100_000)]) {
      const sealed = sealer(key, random).seal(text(plain), text('7/3'));
      assert.equal(sealed.length, plain.length + SEAL_OVERHEAD_BYTES);
      assert.equal(Buffer.from(sealer(key, random).open(sealed, text('7/3'))).toString(), plain);
    }
  });

  it('never look alike, within one start of the daemon and across two', () => {
    const [first, second] = [sealer(key, random), sealer(key, random)];
    const all = [first, first, second, second].map((s) => Buffer.from(s.seal(text('same'))).toString('hex'));
    assert.equal(new Set(all).size, 4);
    // Version, key id and salt aside, each has a counter of its own under its salt.
    assert.notEqual(all[0]?.slice(50, 62), all[1]?.slice(50, 62));
  });

  it('do not open when any of their bits was changed, or in another place', () => {
    const { seal, open } = sealer(key, random);
    const sealed = seal(text('secret'), text('7/3'));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(
        () => open(changed, text('7/3')),
        (error) => isTsswarmError(error),
      );
    }
    fails('CORRUPT', () => open(sealed, text('8/3')));
    fails('CORRUPT', () => open(sealed));
    for (const length of [0, 1, SEAL_OVERHEAD_BYTES - 1, sealed.length - 1])
      fails('CORRUPT', () => open(sealed.subarray(0, length), text('7/3')));
  });

  it('do not open with another key, and open with every key of the ring', () => {
    const other = random.bytes(32);
    const sealed = sealer(key, random).seal(text('x'));
    fails('PERMISSION_DENIED', () => sealer(other, random).open(sealed), /not here/);
    const ring = sealer([other, key], random);
    assert.equal(Buffer.from(ring.open(sealed)).toString(), 'x');
    assert.equal(ring.keyId, sealer(other, random).keyId);
  });

  it('open although more salts have passed by than are remembered', () => {
    const sealed = Array.from({ length: 100 }, (_, i) => sealer(key, random).seal(text(String(i))));
    const { open } = sealer(key, random);
    for (const round of [0, 1])
      sealed.forEach((bytes, i) => assert.equal(Buffer.from(open(bytes)).toString(), String(i), `round ${round}`));
  });
});

describe('unlock keys', () => {
  it('have the form that the field knows', () => {
    const unlockKey = newUnlockKey(seededRandom(1));
    assert.match(unlockKey, /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
    assert.equal(parseUnlockKey(` ${unlockKey}\n`).length, 32);
    for (const bad of ['', 'SWMKEY-1-', unlockKey.slice(0, -1), unlockKey.replace('-1-', '-2-')])
      fails('INVALID_INPUT', () => parseUnlockKey(bad));
  });
});

describe('data-encryption keys', () => {
  const [kek, otherKek] = [parseUnlockKey(newUnlockKey(random)), parseUnlockKey(newUnlockKey(random))];

  it('lock and unlock', () => {
    const ring = rotateDek(newDekRing(random), random);
    const locked = lockDekRing(ring, kek, random);
    assert.ok(lockOf(locked));
    for (const key of ring.keys)
      assert.ok(!Buffer.from(locked).includes(Buffer.from(key).toString('base64')), 'the key lies there in the clear');
    assert.deepEqual(unlockDekRing(locked, kek, random).keys.map(hex), ring.keys.map(hex));
    fails('LOCKED', () => unlockDekRing(locked, undefined, random), /is locked/);
    fails('PERMISSION_DENIED', () => unlockDekRing(locked, otherKek, random), /unlock key is wrong/);
    const open = lockDekRing(ring, undefined, random);
    assert.equal(lockOf(open), undefined);
    assert.deepEqual(unlockDekRing(open, undefined, random).keys.map(hex), ring.keys.map(hex));
  });

  it('rotate: the new one seals, the old ones open until they are dropped', () => {
    const before = newDekRing(random);
    const sealed = sealer(before.keys, random).seal(text('entry'));
    const after = rotateDek(before, random);
    assert.equal(Buffer.from(sealer(after.keys, random).open(sealed)).toString(), 'entry');
    assert.notEqual(sealer(after.keys, random).keyId, sealer(before.keys, random).keyId);
    fails('PERMISSION_DENIED', () => sealer(dropOldDeks(after).keys, random).open(sealed));
  });

  it('are refused when their file is damaged', () => {
    for (const bytes of ['', '{', '{"version":2,"keys":[]}', '{"version":1,"keys":[]}', '{"version":1,"keys":["AA"]}'])
      fails('CORRUPT', () => unlockDekRing(text(bytes), undefined, random));
  });

  describe('on disk', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsswarm-dek-'));
    after(() => rmSync(dir, { recursive: true }));

    it('are made once, locked, unlocked, and locked by another key', () => {
      const file = join(dir, 'manager', 'dek.json');
      const disk = dekDisk(file, random);
      assert.deepEqual([disk.exists(), disk.lock()], [false, undefined]);
      const ring = disk.load();
      assert.deepEqual(disk.load().keys.map(hex), ring.keys.map(hex));
      assert.equal(statSync(file).mode & 0o777, 0o600);
      disk.save(ring, kek);
      assert.ok(disk.exists() && disk.lock());
      fails('LOCKED', () => disk.load());
      assert.deepEqual(disk.load(kek).keys.map(hex), ring.keys.map(hex));
      disk.save(disk.load(kek), otherKek);
      fails('PERMISSION_DENIED', () => disk.load(kek));
      assert.deepEqual(disk.load(otherKek).keys.map(hex), ring.keys.map(hex));
    });

    it('survive a crash in the middle of a save', () => {
      const file = join(dir, 'crash', 'dek.json');
      const disk = dekDisk(file, random);
      const ring = disk.load();
      writeFileSync(`${file}.new`, readFileSync(file).subarray(0, 10));
      assert.deepEqual(disk.load().keys.map(hex), ring.keys.map(hex));
      disk.save(ring);
      assert.deepEqual(readdirSync(join(dir, 'crash')), ['dek.json']);
    });
  });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
