import assert from 'node:assert/strict';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import { network, node, service, task } from '../../../test/builders/objects.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import { leaderStages } from '../../leader.ts';
import type { LogBatch, LogStore } from '../../raft/log/types.ts';
import { startRaft } from '../../raft/loop.ts';
import type { Entry } from '../../raft/types.ts';
import { memoryStore } from '../../store/memory.ts';
import { replicatedStore } from '../../store/replicated.ts';
import { Decisions } from './decisions.ts';
import { runStages } from './loop.ts';

/** A disk in memory that counts how often it is waited for. */
class CountingDisk implements LogStore {
  readonly hardState = { term: 0, votedFor: '' };
  readonly firstIndex = 1;
  readonly #entries: Entry[] = [];
  writes = 0;

  get lastIndex(): number {
    return this.#entries.length;
  }
  write({ entries }: LogBatch): Promise<void> {
    this.writes++;
    this.#entries.push(...entries);
    return Promise.resolve();
  }
  read(from: number, to: number): Entry[] {
    return this.#entries.slice(from - 1, to);
  }
  truncatePrefix(): Promise<void> {
    return Promise.resolve();
  }
  reset(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe('the stages of the leader', () => {
  it('decide on a service with the write to the disk that stores it', async () => {
    const clock = new VirtualClock();
    const random = seededRandom(1);
    const disk = new CountingDisk();
    const replicated = replicatedStore(clock);
    const starting = startRaft({
      id: 'a',
      log: disk,
      snapshots: { latest: () => undefined, load: () => Promise.resolve(undefined), save: () => Promise.resolve() },
      machine: replicated.machine,
      clock,
      random,
      logger: silentLogger,
      snapshotEvery: 1000,
      trailing: 100,
      onFatal: (error) => {
        throw error;
      },
    });
    await clock.advance(1);
    const { store } = replicated.attach(await starting);
    await Promise.all([store.update((tx) => tx.create('node', node('n1'))), clock.advance(1)]);
    const end = new AbortController();
    const stages = leaderStages(clock, random);
    const decisions = new Decisions(clock);
    decisions.use(stages);
    const running = runStages({ store, clock, logger: silentLogger, stages }, end.signal);
    await clock.advance(1);
    const before = disk.writes;
    const create = decisions.within(store).update((tx) => {
      tx.create('network', network('default', { subnet: '', gateway: '' }));
      tx.create('service', service('web'));
    });
    await Promise.all([create, clock.advance(1)]);
    await settle();
    const tasks = store.view((tx) => tx.list('task'));
    assert.deepEqual(
      tasks.map(({ nodeId }) => nodeId),
      ['n1'],
    );
    assert.equal(disk.writes - before, 1);
    end.abort();
    await running;
  });

  it('look half of the time at most where there are many tasks and a look takes long, else at every change', async () => {
    for (const [tasks, lookMs, least, most] of [
      [5001, 40, 15, 30],
      [5001, 1, 100, 200],
      [5000, 40, 100, 200],
    ] as const) {
      const clock = new VirtualClock();
      const store = memoryStore(clock);
      const web = service('web');
      await store.update((tx) => {
        for (let slot = 1; slot <= tasks; slot++) tx.create('task', task(web, slot));
      });
      let looks = 0;
      let workMs = 0;
      const slow = { now: () => clock.now(), monotonic: () => clock.monotonic() + workMs };
      const decide = (): undefined => {
        looks++;
        workMs += lookMs;
      };
      const end = new AbortController();
      const stage = { name: 'slow', concerns: () => true, decide };
      const timers = { startTimer: (ms: number, fire: () => void) => clock.startTimer(ms, fire) };
      const running = runStages(
        { store, clock: { ...slow, ...timers }, logger: silentLogger, stages: [stage] },
        end.signal,
      );
      for (let change = 0; change < 100; change++) {
        await store.update((tx) => tx.create('node', node(`n${change}`)));
        await clock.advance(10);
      }
      assert.ok(
        looks >= least && looks <= most,
        `${looks} looks of ${lookMs} ms at 100 changes in a second, ${tasks} tasks`,
      );
      end.abort();
      await running;
    }
  });
});
