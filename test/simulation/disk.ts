import type { HardState, LogBatch, LogStore } from '../../manager/raft/log/types.ts';
import type { Snapshot, SnapshotStore } from '../../manager/raft/snapshot/disk.ts';
import type { Entry, SnapshotMeta } from '../../manager/raft/types.ts';
import type { Profile, Shape } from './profile.ts';
import type { Life, World } from './world.ts';

/** The message by which the simulation knows its own fault. */
export const INJECTED = 'injected disk fault';

/** What a disk holds for good: it outlives its process. */
export interface Platter {
  hardState: HardState;
  /** Index of the last entry that was dropped behind a snapshot. */
  base: number;
  entries: Entry[];
  snapshots: Snapshot[];
  /** Writes that no sync has confirmed: at a crash each may be there or not. */
  pending: (() => void)[];
}

export const blankPlatter = (): Platter => ({
  hardState: { term: 0, votedFor: '' },
  base: 0,
  entries: [],
  snapshots: [],
  pending: [],
});

export const lastOf = (platter: Platter): number => platter.base + platter.entries.length;

/** The term of an entry on the platter, 0 where there is none. */
export function termOnDisk(platter: Platter, index: number): number {
  return platter.entries[index - platter.base - 1]?.term ?? 0;
}

/** The power goes: each write that was not synced may have made it. (Log writes wait for one another: at most one is open.) */
export function crashDisk(world: World, platter: Platter): void {
  const { pending } = platter;
  platter.pending = [];
  for (const write of pending) if (world.chance(0.5)) write();
}

interface Setting {
  readonly world: World;
  readonly profile: () => Profile;
  readonly shape: Shape;
  readonly life: Life;
  readonly platter: Platter;
  /** Sees every log write that became durable. */
  readonly written: (batch: LogBatch) => void;
}

/** Opens the platter as the product's log store. */
export function simulatedLog(setting: Setting): LogStore {
  const { platter } = setting;
  return {
    get hardState() {
      return platter.hardState;
    },
    get firstIndex() {
      return platter.base + 1;
    },
    get lastIndex() {
      return lastOf(platter);
    },
    write: (batch) =>
      commit(setting, () => {
        if (batch.hardState !== undefined) platter.hardState = batch.hardState;
        if (batch.truncateFrom !== undefined)
          platter.entries.length = Math.max(0, batch.truncateFrom - platter.base - 1);
        for (const entry of batch.entries) platter.entries[entry.index - platter.base - 1] = entry;
        setting.written(batch);
      }),
    read: (from, to) => platter.entries.slice(from - platter.base - 1, to - platter.base),
    truncatePrefix: (index) =>
      commit(setting, () => {
        if (index <= platter.base) return;
        platter.entries = platter.entries.slice(index - platter.base);
        platter.base = index;
      }),
    reset: (index) =>
      commit(setting, () => {
        platter.entries = [];
        platter.base = index;
      }),
    close: () => Promise.resolve(),
  };
}

/** Opens the platter as the product's snapshot store. */
export function simulatedSnapshots(setting: Setting): SnapshotStore {
  const { platter } = setting;
  return {
    latest: () => platter.snapshots.at(-1),
    load: (index) => Promise.resolve(platter.snapshots.findLast((snapshot) => snapshot.index === index)),
    async save(meta: SnapshotMeta, data) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of data) chunks.push(chunk);
      const snapshot = { ...meta, data: Buffer.concat(chunks) };
      await commit(setting, () => {
        platter.snapshots = [...platter.snapshots.filter(({ index }) => index !== meta.index), snapshot]
          .sort((a, b) => a.index - b.index)
          .slice(-2);
      });
    },
  };
}

/** Makes a change durable after a while, or fails. */
function commit({ world, profile, shape, life, platter }: Setting, change: () => void): Promise<void> {
  // What a dead process still has in hand reaches no disk.
  if (!life.alive) return new Promise(() => undefined);
  const { slowWrite, slowWriteMs, failWrite } = profile();
  let done = false;
  const write = (): void => {
    if (!done) change();
    done = true;
  };
  platter.pending.push(write);
  const delay = world.chance(slowWrite) ? world.between(0, slowWriteMs) : world.between(0.05, shape.writeMs);
  const fails = world.chance(failWrite);
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      if (fails) return reject(new Error(INJECTED));
      write();
      platter.pending = platter.pending.filter((other) => other !== write);
      resolve();
    };
    world.after(delay, finish, life, 2);
  });
}
