import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/clock.ts';
import { openLog } from '../../../manager/raft/log/disk.ts';
import type { LogStore } from '../../../manager/raft/log/types.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import type { Entry, EntryKind } from '../../../manager/raft/types.ts';
import { blankPlatter, simulatedLog } from '../../simulation/disk.ts';
import { drawProfile, drawShape } from '../../simulation/profile.ts';
import { World } from '../../simulation/world.ts';

/** A log store, how to open the same one again, and how to wait for what it does. */
interface Subject {
  open(): LogStore;
  settle<T>(work: Promise<T>): Promise<T>;
  dispose(): void;
}

const implementations: Readonly<Record<string, () => Subject>> = {
  'on LMDB': () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsswarm-log-'));
    return {
      open: () => openLog(dir, systemClock),
      settle: (work) => work,
      dispose: () => rmSync(dir, { recursive: true }),
    };
  },
  'on LMDB, sealed': () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsswarm-log-'));
    const vault = openVault(dekDisk(join(dir, 'dek.json'), systemRandom), undefined, systemRandom);
    return {
      open: () => openLog(dir, systemClock, vault),
      settle: (work) => work,
      dispose: () => rmSync(dir, { recursive: true }),
    };
  },
  simulated: () => {
    const world = new World(1);
    const platter = blankPlatter();
    const profile = { ...drawProfile('mild', world), failWrite: 0 };
    const life = { alive: true, pausedUntil: 0 };
    return {
      open: () =>
        simulatedLog({
          world,
          profile: () => profile,
          shape: drawShape(world),
          life,
          platter,
          written: () => undefined,
        }),
      settle: async (work) => {
        await world.runUntil(world.now + 1000);
        return work;
      },
      dispose: () => undefined,
    };
  },
};

const entry = (index: number, term: number, kind: EntryKind = 'command'): Entry => ({
  index,
  term,
  kind,
  payload: Buffer.from(`${index}/${term}`),
});
const plain = (entries: Iterable<Entry>) =>
  [...entries].map(({ index, term, kind, payload }) => [index, term, kind, Buffer.from(payload).toString()]);

for (const [name, make] of Object.entries(implementations)) {
  describe(`a Raft log ${name}`, () => {
    let subject: Subject;
    let log: LogStore;
    beforeEach(() => {
      subject = make();
      log = subject.open();
    });
    afterEach(async () => {
      await subject.settle(log.close());
      subject.dispose();
    });
    const write = (batch: Parameters<LogStore['write']>[0]) => subject.settle(log.write(batch));
    const reopen = async (): Promise<void> => {
      await subject.settle(log.close());
      log = subject.open();
    };

    it('is empty at first', () => {
      assert.deepEqual([log.firstIndex, log.lastIndex, log.hardState], [1, 0, { term: 0, votedFor: '' }]);
    });

    it('keeps entries, term and vote over a restart', async () => {
      await write({
        hardState: { term: 3, votedFor: 'b' },
        entries: [entry(1, 1, 'configuration'), entry(2, 3, 'noop')],
      });
      await write({ entries: [entry(3, 3)] });
      await reopen();
      assert.deepEqual([log.firstIndex, log.lastIndex, log.hardState], [1, 3, { term: 3, votedFor: 'b' }]);
      assert.deepEqual(plain(log.read(1, 3)), [
        [1, 1, 'configuration', '1/1'],
        [2, 3, 'noop', '2/3'],
        [3, 3, 'command', '3/3'],
      ]);
    });

    it('writes term and vote without entries', async () => {
      await write({ hardState: { term: 9, votedFor: '' }, entries: [] });
      await reopen();
      assert.deepEqual([log.lastIndex, log.hardState], [0, { term: 9, votedFor: '' }]);
    });

    it('replaces a suffix in one write', async () => {
      await write({ entries: [entry(1, 1), entry(2, 1), entry(3, 1)] });
      await write({ truncateFrom: 2, entries: [entry(2, 2)] });
      for (const again of [false, true]) {
        if (again) await reopen();
        assert.deepEqual(plain(log.read(1, log.lastIndex)), [
          [1, 1, 'command', '1/1'],
          [2, 2, 'command', '2/2'],
        ]);
      }
    });

    it('drops a suffix and puts nothing in its place', async () => {
      await write({ entries: [entry(1, 1), entry(2, 1)] });
      await write({ truncateFrom: 1, entries: [] });
      await reopen();
      assert.equal(log.lastIndex, 0);
    });

    it('drops a prefix', async () => {
      await write({ entries: [entry(1, 1), entry(2, 1), entry(3, 1)] });
      await subject.settle(log.truncatePrefix(2));
      await reopen();
      assert.deepEqual([log.firstIndex, log.lastIndex], [3, 3]);
      await write({ entries: [entry(4, 2)] });
      assert.deepEqual(plain(log.read(3, 4)).length, 2);
    });

    it('goes on behind a snapshot, and keeps term and vote', async () => {
      await write({ hardState: { term: 2, votedFor: 'a' }, entries: [entry(1, 1), entry(2, 1)] });
      await subject.settle(log.reset(50));
      await reopen();
      assert.deepEqual([log.firstIndex, log.lastIndex, log.hardState.term], [51, 50, 2]);
      await write({ entries: [entry(51, 3)] });
      await reopen();
      assert.deepEqual([log.firstIndex, log.lastIndex], [51, 51]);
    });

    it('reads what is asked for', async () => {
      await write({ entries: [1, 2, 3, 4, 5].map((index) => entry(index, 1)) });
      assert.deepEqual(
        plain(log.read(2, 4)).map(([index]) => index),
        [2, 3, 4],
      );
    });
  });
}
