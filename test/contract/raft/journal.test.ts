import assert from 'node:assert/strict';
import disk, { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { seededRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/clock.ts';
import type { Clock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import { Journal } from '../../../manager/raft/log/journal/disk.ts';
import { encodeConfirmation } from '../../../manager/raft/log/journal/frame.ts';
import type { LogBatch } from '../../../manager/raft/log/types.ts';
import type { Entry } from '../../../manager/raft/types.ts';

const entry = (index: number, term: number, bytes = 20): Entry => ({
  index,
  term,
  kind: 'command',
  payload: Buffer.alloc(bytes, index & 0xff),
});
const range = (from: number, to: number, term: number, bytes?: number): Entry[] =>
  Array.from({ length: to - from + 1 }, (_, place) => entry(from + place, term, bytes));

describe('the journal before the log', () => {
  let dir: string;
  let folders = 0;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-journal-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  /** What a machine that is switched off now finds at its next start. */
  const image = (): string => {
    const copy = join(dir, `image${folders++}`);
    cpSync(join(dir, 'log'), copy, { recursive: true });
    return copy;
  };
  const journals = (folder: string): string[] =>
    ['log.mdb-journal-0', 'log.mdb-journal-1'].map((name) => join(folder, name));

  it('fills as much of a file as it is told, another time for each, and loses nothing with it', async () => {
    const shares = [0.5, 0.25, 1];
    const asked = (): number => shares.shift() ?? 1;
    const log = openLog(join(dir, 'log'), systemClock, undefined, undefined, asked);
    // Whether something was written so far into a file: it begins as zeros.
    const first = journals(join(dir, 'log')).map((path) => () => readFileSync(path));
    const holds = (place: number, atKiB: number): boolean => (first[place]?.()[atKiB * 1024] ?? 0) !== 0;
    for (let index = 1; index <= 12; index++) await log.write({ entries: [entry(index, 1, 30 * 1024)] });
    // 8 writes of 30 KiB are 240 of 256; the next 4 are 120 of 128.
    assert.ok(holds(0, 200) && !holds(0, 250), 'half of the first');
    assert.ok(holds(1, 100) && !holds(1, 125));
    await log.write({ entries: [entry(13, 1, 30 * 1024)] });
    assert.ok(!holds(1, 125), 'a quarter of the second');
    const copy = image();
    const again = openLog(copy, systemClock);
    assert.deepEqual([...again.read(1, 13)], [...log.read(1, 13)]);
    await again.close();
    await log.close();
  });

  it('keeps nothing in memory of writes that were confirmed, however long it runs', async () => {
    let fire = (): void => undefined;
    const clock: Clock = {
      now: () => 0,
      monotonic: () => 0,
      startTimer: (_, due) => {
        fire = due;
        return { cancel: () => undefined };
      },
    };
    const journal = new Journal(join(dir, 'journal'), 0, clock);
    const content = Buffer.alloc(20);
    // Each is confirmed by itself, as on a cluster at rest.
    const write = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        if (!journal.fits(content.length)) journal.swap();
        await journal.append([content]);
        fire();
      }
    };
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const used = (): number => {
      gc();
      return process.memoryUsage().heapUsed;
    };
    await write(300);
    const before = used();
    await write(1000);
    const grown = used() - before;
    assert.ok(grown < 100 * 1000, `${grown} bytes more after 1000 writes`);
    await journal.remove();
  });

  it('takes a write that is larger than the share of a file', async () => {
    const log = openLog(join(dir, 'log'), systemClock, undefined, undefined, () => 0.1);
    for (let index = 1; index <= 5; index++) await log.write({ entries: [entry(index, 1, 300 * 1024)] });
    const again = openLog(image(), systemClock);
    assert.equal(again.lastIndex, 5);
    await again.close();
    await log.close();
  });

  it('has every write that was acknowledged when the machine is switched off, and goes on from there', async () => {
    const log = openLog(join(dir, 'log'), systemClock);
    const steps: LogBatch[] = [
      { hardState: { term: 1, votedFor: 'a' }, entries: range(1, 5, 1) },
      { entries: [], truncateFrom: 4 },
      { hardState: { term: 2, votedFor: '' }, truncateFrom: 3, entries: range(3, 8, 2) },
      { entries: range(9, 9, 2) },
    ];
    for (const step of steps) {
      await log.write(step);
      const copy = image();
      for (let start = 0; start < 2; start++) {
        const again = openLog(copy, systemClock);
        assert.deepEqual(again.hardState, log.hardState);
        assert.deepEqual(
          [...again.read(again.firstIndex, again.lastIndex)],
          [...log.read(log.firstIndex, log.lastIndex)],
          `start ${start}`,
        );
        await again.close();
      }
    }
    await log.close();
    assert.ok(!journals(join(dir, 'log')).some((path) => existsSync(path)), 'nothing is left to bring in');
  });

  it('keeps all while it changes files, beside writes too large for it, and while entries are dropped', async () => {
    const random = seededRandom(11);
    const log = openLog(join(dir, 'log'), systemClock);
    const wanted = new Map<number, number>();
    let next = 1;
    for (let round = 0; round < 120; round++) {
      const bytes = round % 29 === 28 ? 700_000 : 1_000 + Math.floor(random.next() * 40_000);
      const back = Math.min(next - log.firstIndex, Math.floor(random.next() * 3));
      const from = next - back;
      await log.write({
        ...(back > 0 ? { truncateFrom: from } : {}),
        hardState: { term: round, votedFor: `v${round}` },
        entries: range(from, from + 1, round, bytes),
      });
      for (const index of [from, from + 1]) wanted.set(index, bytes);
      next = from + 2;
      if (round % 25 === 24) await log.truncatePrefix(next - 10);
      if (round % 17 !== 0) continue;
      const again = openLog(image(), systemClock);
      assert.deepEqual(again.hardState, { term: round, votedFor: `v${round}` });
      assert.equal(again.lastIndex, next - 1);
      assert.equal(again.firstIndex, log.firstIndex);
      for (const { index, payload } of again.read(again.firstIndex, again.lastIndex)) {
        assert.equal(payload.length, wanted.get(index));
        assert.ok(payload.every((byte) => byte === (index & 0xff)));
      }
      await again.close();
    }
    await log.close();
  });

  it('is refused when what was acknowledged is damaged, by the number of the entry, and stays as it is', async () => {
    const log = openLog(join(dir, 'log'), systemClock);
    await log.write({ hardState: { term: 1, votedFor: 'a' }, entries: range(1, 3, 1) });
    await log.write({ entries: range(4, 4, 1, 300) });
    // Nobody waits for the confirmation of a write but this test.
    const said = encodeConfirmation(2);
    const [present = ''] = journals(join(dir, 'log'));
    while (!readFileSync(present).includes(said)) await new Promise((resolve) => setImmediate(resolve));
    const copy = image();
    await log.close();
    const [path = ''] = journals(copy);
    const bytes = readFileSync(path);
    const place = bytes.indexOf(Buffer.alloc(300, 4));
    assert.ok(place > 0);
    bytes[place + 100] = 0xff;
    writeFileSync(path, bytes);
    for (let start = 0; start < 2; start++)
      assert.throws(() => openLog(copy, systemClock), {
        code: 'CORRUPT',
        message: /journal.*entry 4.* fails its checksum/,
      });
  });

  describe('whose confirmations take long', () => {
    const { write } = disk;
    const CONFIRMATION_BYTES = encodeConfirmation(1).length;
    let held: (() => void)[] | undefined;
    beforeEach(() => {
      held = [];
      disk.write = ((...args: Parameters<typeof write>) => {
        const bytes = args[1] as unknown as Uint8Array;
        if (held !== undefined && bytes.length === CONFIRMATION_BYTES) held.push(() => write(...args));
        else write(...args);
      }) as typeof write;
      syncBuiltinESMExports();
    });
    afterEach(() => {
      disk.write = write;
      syncBuiltinESMExports();
    });
    const release = (): void => {
      for (const go of held?.splice(0) ?? []) go();
      held = undefined;
    };
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    };

    it('writes them along with what follows: only the last of many is confirmed by itself', async () => {
      const log = openLog(join(dir, 'log'), systemClock);
      for (let index = 1; index <= 5; index++) await log.write({ entries: range(index, index, 1) });
      const [present = ''] = journals(join(dir, 'log'));
      const bytes = readFileSync(present);
      assert.deepEqual(
        [1, 2, 3, 4, 5].map((number) => bytes.includes(encodeConfirmation(number))),
        [true, true, true, true, false],
      );
      while (held?.length === 0) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(held?.length, 1);
      release();
      await log.close();
    });

    it('closes its files after them: the next file that is opened may get their descriptors', async () => {
      const log = openLog(join(dir, 'log'), systemClock);
      await log.write({ entries: range(1, 1, 1) });
      assert.equal(held?.length, 0, 'a write does not wait for its confirmation');
      let closed = false;
      const closing = log.close().then(() => (closed = true));
      while (held?.length === 0) await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(closed, false);
      release();
      await closing;
    });

    it('uses no file again before them: they would land in newer writes', async () => {
      const log = openLog(join(dir, 'log'), systemClock);
      let written = 0;
      const writing = (async () => {
        for (let index = 1; index <= 40; index++) {
          await log.write({ entries: [entry(index, 1, 60_000)] });
          written = index;
        }
      })();
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.ok(written > 0 && written < 20, `${written} of 40 writes`);
      release();
      await writing;
      await turns();
      const again = openLog(image(), systemClock);
      assert.equal(again.lastIndex, 40);
      for (const { index, payload } of again.read(1, 40)) assert.ok(payload.every((byte) => byte === (index & 0xff)));
      await again.close();
      await log.close();
    });
  });
});
