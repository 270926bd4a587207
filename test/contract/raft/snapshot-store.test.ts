import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { isTsswarmError } from '../../../base/errors.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import { restore } from '../../../manager/raft/restore.ts';
import type { Bootstrap } from '../../../manager/raft/restore.ts';
import { openSnapshots } from '../../../manager/raft/snapshot/disk.ts';
import type { Snapshot } from '../../../manager/raft/snapshot/disk.ts';
import type { Entry } from '../../../manager/raft/types.ts';

const self = { id: 'a', address: 'a:1', voter: true };
const meta = (index: number, term = 1) => ({ index, term, configuration: { index: 1, servers: [self] } });
const bytes = (text: string) => [Buffer.from(text)];

describe('Raft snapshots on disk', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-snapshots-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const files = () => readdirSync(dir).sort();

  it('come back with their members', async () => {
    await openSnapshots(dir).save(meta(7, 3), [Buffer.from('ab'), Buffer.from('c')]);
    const latest = openSnapshots(dir).latest();
    assert.deepEqual(
      { ...latest, data: latest?.data.toString() },
      { ...meta(7, 3), data: Buffer.from('abc').toString() },
    );
    assert.equal((await openSnapshots(dir).load(7))?.index, 7);
    assert.equal(await openSnapshots(dir).load(8), undefined);
  });

  it('keep two: the newest, and the one before in case it is bad', async () => {
    const store = openSnapshots(dir);
    for (const index of [1, 2, 3, 4]) await store.save(meta(index), bytes(`state ${index}`));
    assert.equal(files().length, 2);
    const newest = files().at(-1) ?? '';
    truncateSync(join(dir, newest), 30);
    assert.equal(openSnapshots(dir).latest()?.index, 3);
  });

  for (const [title, harm] of [
    ['cut off', (path: string) => truncateSync(path, 10)],
    ['empty', (path: string) => truncateSync(path, 0)],
    [
      'changed in one bit',
      (path: string) => {
        const content = readFileSync(path);
        content[content.length - 1] = (content.at(-1) ?? 0) ^ 1;
        writeFileSync(path, content);
      },
    ],
  ] as const) {
    it(`are refused when the only one is ${title}`, async () => {
      await openSnapshots(dir).save(meta(7), bytes('state'));
      harm(join(dir, files()[0] ?? ''));
      assert.throws(
        () => openSnapshots(dir).latest(),
        (error) => isTsswarmError(error, 'CORRUPT'),
      );
    });
  }

  it('that were not finished are no snapshots', async () => {
    await openSnapshots(dir).save(meta(7), bytes('state'));
    writeFileSync(join(dir, `${files()[0]}.new`), 'half');
    assert.equal(openSnapshots(dir).latest()?.index, 7);
    assert.equal(files().length, 1);
  });

  it('that could not be finished leave the one before', async () => {
    const store = openSnapshots(dir);
    await store.save(meta(7), bytes('state'));
    async function* failing() {
      yield Buffer.from('half');
      await Promise.reject(new Error('no space'));
    }
    await assert.rejects(store.save(meta(9), failing()), /no space/);
    assert.equal(openSnapshots(dir).latest()?.index, 7);
  });

  it('of the first version are read', () => {
    const old = Buffer.alloc(20 + 5);
    old.writeBigUInt64BE(40n, 4);
    old.writeBigUInt64BE(2n, 12);
    old.write('state', 20);
    old.writeUInt32BE(crc32(old.subarray(4)));
    writeFileSync(join(dir, '0000000000000040-0000000000000002.snapshot'), old);
    const latest = openSnapshots(dir).latest();
    assert.deepEqual([latest?.index, latest?.term, latest?.configuration], [40, 2, undefined]);
    assert.equal(Buffer.from(latest?.data ?? []).toString(), 'state');
  });
});

describe('the start of a Raft server, wherever the last one stopped', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-restore-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const snapshot: Snapshot = { ...meta(5, 2), data: new Uint8Array() };
  const entries = (terms: readonly number[], from = 1): Entry[] =>
    terms.map((term, i) => ({ index: from + i, term, kind: 'command', payload: new Uint8Array() }));
  /** What a start makes of a disk: [first, last] of its log, and the members. */
  const start = async (
    terms: readonly number[],
    options: { snapshot?: Snapshot; bootstrap?: Bootstrap; votedFor?: string; drop?: number; force?: boolean } = {},
  ) => {
    const log = openLog(dir, systemClock);
    try {
      if (terms.length > 0)
        await log.write({
          hardState: { term: terms.at(-1) ?? 0, votedFor: options.votedFor ?? '' },
          entries: entries(terms),
        });
      if (options.drop !== undefined) await log.truncatePrefix(options.drop);
      const restored = await restore(log, options.snapshot, self, {
        bootstrap: options.bootstrap ?? { servers: [self] },
        forceNewCluster: options.force ?? false,
      });
      return {
        range: [restored.log.firstIndex, restored.log.lastIndex],
        disk: [log.firstIndex, log.lastIndex],
        members: restored.configurations.at(-1)?.servers.map(({ id }) => id),
        term: restored.term,
        base: restored.log.termAt(restored.log.firstIndex - 1),
      };
    } finally {
      await log.close();
    }
  };

  it('founds a cluster on an empty disk', async () => {
    const { range, members, term } = await start([]);
    assert.deepEqual([range, members, term], [[1, 1], ['a'], 1]);
  });

  it('waits on an empty disk that joins', async () => {
    const { range, members, term } = await start([], { bootstrap: 'join' });
    assert.deepEqual([range, members, term], [[1, 0], undefined, 0]);
  });

  it('takes a log without members for a cluster of one if it voted for itself', async () => {
    assert.deepEqual((await start([1, 1], { votedFor: 'a' })).members, ['a']);
  });

  it("and otherwise for the beginning of somebody else's log: it must not lead", async () => {
    assert.equal((await start([1, 1], { bootstrap: 'join' })).members, undefined);
  });

  it('goes on behind a snapshot whose log was not dropped yet', async () => {
    assert.deepEqual(await start([1, 1], { snapshot }), {
      range: [6, 5],
      disk: [6, 5],
      members: ['a'],
      term: 1,
      base: 2,
    });
  });

  it('drops a log that contradicts the snapshot', async () => {
    assert.deepEqual((await start([1, 1, 1, 1, 1, 1, 1], { snapshot })).range, [6, 5]);
  });

  it('keeps a log that agrees with it', async () => {
    assert.deepEqual((await start([1, 1, 1, 2, 2, 2, 3], { snapshot })).range, [1, 7]);
  });

  it('refuses a gap between snapshot and log', async () => {
    await assert.rejects(start([1, 1, 1, 1, 1, 1, 1, 1], { snapshot, drop: 7 }), (error) =>
      isTsswarmError(error, 'CORRUPT'),
    );
  });

  it('makes a cluster of one by force, with everything that is there', async () => {
    const { range, members, term } = await start([1, 1, 4], { force: true });
    assert.deepEqual([range, members, term], [[1, 4], ['a'], 5]);
  });
});
