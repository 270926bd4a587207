import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { open as openLmdb } from 'lmdb';
import { isTsswarmError } from '../../../base/errors.ts';
import { systemRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog, openSealedLog } from '../../../manager/raft/log/disk.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import type { Vault } from '../../../manager/raft/seal/index.ts';
import { openSnapshots } from '../../../manager/raft/snapshot/disk.ts';
import type { Entry } from '../../../manager/raft/types.ts';

const SECRET = 'an entry that nobody else may read';
const entries = (count: number, term = 1): Entry[] =>
  Array.from({ length: count }, (_, i) => ({
    index: i + 1,
    term,
    kind: 'command',
    payload: Buffer.from(`${SECRET} ${i + 1}`),
  }));
const texts = (log: Iterable<Entry>): string[] => [...log].map(({ payload }) => Buffer.from(payload).toString());

describe('a log and snapshots that are sealed', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-sealed-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const vaultOf = (name = 'dek.json'): Vault =>
    openVault(dekDisk(join(dir, name), systemRandom), undefined, systemRandom);
  const inFiles = (): boolean =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .some((file) => readFileSync(join(file.parentPath, file.name)).includes(SECRET));
  const meta = (index: number, term = 1) => ({
    index,
    term,
    configuration: { index: 1, servers: [{ id: 'a', address: 'a:1', voter: true }] },
  });
  /** Changes the stored bytes of entries, past the product. */
  const tamper = async (
    change: (read: (index: number) => Buffer, put: (index: number, bytes: Buffer) => void) => void,
  ) => {
    const root = openLmdb({ path: join(dir, 'log.mdb'), noSubdir: true, maxDbs: 4 });
    const db = root.openDB<Buffer, number>({ name: 'entries', encoding: 'binary', keyEncoding: 'uint32' });
    root.transactionSync(() => {
      change(
        (index) => Buffer.from(db.get(index) ?? assert.fail(`no entry ${index}`)),
        (index, bytes) => {
          // Whoever changes an entry on purpose makes a checksum that is right.
          bytes.writeUInt32BE(crc32(bytes.subarray(4), index));
          void db.put(index, bytes);
        },
      );
    });
    await root.close();
  };
  const changed = (index: number) => (error: unknown) =>
    isTsswarmError(error, 'CORRUPT') && error.message.includes(`entry ${index} was changed`);

  it('say nothing to whoever has no key', async () => {
    const log = openLog(dir, systemClock, vaultOf());
    await log.write({ entries: entries(3) });
    await log.close();
    await openSnapshots(join(dir, 'snapshots'), { sealer: vaultOf() }).save(meta(3), [Buffer.from(SECRET)]);
    assert.ok(!inFiles());
    assert.equal(openSnapshots(join(dir, 'snapshots'), { sealer: vaultOf() }).latest()?.data.toString(), SECRET);
    const other = vaultOf('other.json');
    const refused = (error: unknown): boolean => isTsswarmError(error, 'PERMISSION_DENIED');
    assert.throws(() => openSnapshots(join(dir, 'snapshots'), { sealer: other }).latest(), refused);
    const stranger = openLog(dir, systemClock, other);
    assert.throws(() => [...stranger.read(1, 3)], refused);
    await stranger.close();
  });

  it('refuse an entry that was changed, put elsewhere, or given another term, though its checksum is right', async () => {
    const changes: [string, number, Parameters<typeof tamper>[0]][] = [
      [
        'a flipped bit',
        2,
        (read, put) => {
          const bytes = read(2);
          const last = bytes.length - 20;
          bytes[last] = (bytes[last] ?? 0) ^ 1;
          put(2, bytes);
        },
      ],
      [
        'swapped entries',
        1,
        (read, put) => {
          const [one, three] = [read(1), read(3)];
          put(1, three);
          put(3, one);
        },
      ],
      [
        'another term',
        3,
        (read, put) => {
          const bytes = read(3);
          bytes.writeBigUInt64BE(9n, 4);
          put(3, bytes);
        },
      ],
    ];
    for (const [what, index, change] of changes) {
      rmSync(join(dir, 'log.mdb'), { force: true });
      const before = openLog(dir, systemClock, vaultOf());
      await before.write({ entries: entries(3) });
      await before.close();
      await tamper(change);
      const log = openLog(dir, systemClock, vaultOf());
      assert.throws(() => [...log.read(1, 3)], changed(index), what);
      await log.close();
    }
  });

  it('refuse a snapshot whose frames were changed or left out, though its checksum is right', async () => {
    const folder = join(dir, 'snapshots');
    await openSnapshots(folder, { sealer: vaultOf() }).save(meta(3), [
      Buffer.alloc(100_000, 'a'),
      Buffer.alloc(100_000, 'b'),
    ]);
    const path = join(folder, readdirSync(folder)[0] ?? '');
    const good = readFileSync(path);
    const frames: Buffer[] = [];
    for (let at = 20; at < good.length;) {
      const end = at + 4 + good.readUInt32BE(at);
      frames.push(good.subarray(at, end));
      at = end;
    }
    const [first = good, second = good, third = good, last = good] = frames;
    assert.equal(frames.length, 4);
    for (const bad of [
      [first, third, second, last],
      [first, second, last],
      [first, second, third],
    ]) {
      const bytes = Buffer.concat([good.subarray(0, 20), ...bad]);
      bytes.writeUInt32BE(crc32(bytes.subarray(4)));
      writeFileSync(path, bytes);
      assert.throws(
        () => openSnapshots(folder, { sealer: vaultOf() }).latest(),
        (error) => isTsswarmError(error, 'CORRUPT'),
      );
    }
    writeFileSync(path, good);
    renameSync(path, join(folder, '0000000000000004-0000000000000001.v3.snapshot'));
    assert.equal(openSnapshots(folder, { sealer: vaultOf() }).latest()?.index, 3, 'what it says of itself counts');
  });

  it('take over what lay there in the clear, and leave nothing of it', async () => {
    const plain = openLog(dir, systemClock);
    await plain.write({ hardState: { term: 4, votedFor: 'b' }, entries: entries(300, 3) });
    await plain.truncatePrefix(5);
    await plain.close();
    await openSnapshots(join(dir, 'snapshots')).save(meta(5, 3), [Buffer.from(SECRET)]);
    assert.ok(inFiles());
    const vault = vaultOf();
    for (const _ of ['first', 'again']) {
      const snapshots = openSnapshots(join(dir, 'snapshots'), { sealer: vault });
      await snapshots.reseal();
      const log = await openSealedLog(dir, systemClock, vault, systemRandom);
      assert.deepEqual([log.firstIndex, log.lastIndex, log.hardState], [6, 300, { term: 4, votedFor: 'b' }]);
      assert.deepEqual(texts(log.read(299, 300)), [`${SECRET} 299`, `${SECRET} 300`]);
      assert.equal(log.hasPlainEntries, false);
      await log.close();
      assert.equal(snapshots.latest()?.data.toString(), SECRET);
      assert.deepEqual(snapshots.latest()?.configuration, meta(5).configuration);
      assert.ok(!inFiles());
    }
    assert.deepEqual(readdirSync(join(dir, 'snapshots')), ['0000000000000005-0000000000000003.v3.snapshot']);
  });

  it('take over a snapshot from before there were members', async () => {
    const old = Buffer.alloc(20 + 5);
    old.writeBigUInt64BE(40n, 4);
    old.writeBigUInt64BE(2n, 12);
    old.write('state', 20);
    old.writeUInt32BE(crc32(old.subarray(4)));
    const snapshots = openSnapshots(join(dir, 'snapshots'), { sealer: vaultOf() });
    writeFileSync(join(dir, 'snapshots', '0000000000000040-0000000000000002.snapshot'), old);
    await snapshots.reseal();
    const latest = snapshots.latest();
    assert.deepEqual([latest?.index, latest?.term, latest?.configuration], [40, 2, undefined]);
    assert.equal(latest?.data.toString(), 'state');
  });

  it('need only the newest key when they are sealed anew', async () => {
    const vault = vaultOf();
    const log = openLog(dir, systemClock, vault);
    const snapshots = openSnapshots(join(dir, 'snapshots'), { sealer: vault });
    await log.write({ entries: entries(300) });
    await snapshots.save(meta(2), [Buffer.from(SECRET)]);
    vault.relock(undefined, 7);
    await log.write({ entries: [{ index: 301, term: 1, kind: 'noop', payload: Buffer.alloc(0) }] });
    assert.equal(texts(log.read(1, 301)).length, 301, 'old and new keys open');
    await log.reseal();
    await snapshots.reseal();
    vault.dropOldKeys();
    await log.close();
    const later = vaultOf();
    assert.deepEqual([later.hasOldKeys, later.lockIndex], [false, 7]);
    const again = openLog(dir, systemClock, later);
    assert.equal(texts(again.read(1, 301)).at(-2), `${SECRET} 300`);
    await again.close();
    assert.equal((await openSnapshots(join(dir, 'snapshots'), { sealer: later }).load(2))?.data.toString(), SECRET);
  });
});
