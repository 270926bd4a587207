import { TsswarmError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { storeEntryCodec, storeSnapshotCodec } from '../../proto/codec/store.ts';
import type { StoreEntryChange, StoredObject } from '../../proto/codec/store.ts';
import { openLog } from '../raft/log/disk.ts';
import type { Raft, RaftStatus } from '../raft/loop.ts';
import { startRaft } from '../raft/loop.ts';
import { openSnapshots } from '../raft/snapshot/disk.ts';
import { Database } from './database.ts';
import { TABLE_NAMES } from './tables.ts';
import { Overlay } from './transaction.ts';
import type { ReadTransaction, Store, StoreChange, TableName, Tables } from './types.ts';
import { WatchHub } from './watch.ts';

/** A project with several secrets of 500 KiB is one transaction: above swarmkit's 1.5 MiB, far below a log entry's limit. */
const MAX_TRANSACTION_BYTES = 16 * 1024 * 1024;

export interface StoreOptions {
  /** Folder of log and snapshots. */
  readonly dir: string;
  readonly id: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
  /** Default: 10,000 entries, as swarmkit. */
  readonly snapshotEvery?: number;
  /** Default: 500. */
  readonly trailing?: number;
}

export interface OpenStore {
  readonly store: Store;
  status(): RaftStatus;
  close(): Promise<void>;
}

/**
 * Opens the replicated store: whatever was acknowledged before is there.
 * @throws CORRUPT when the disk lost data
 */
export async function openStore(options: StoreOptions): Promise<OpenStore> {
  const { clock } = options;
  // `committed` is what readers see; `newest` runs ahead by what is on its way to disk, so that transactions queue up
  // behind one another without waiting for each other's sync. They share the objects.
  let committed = new Database();
  let newest = new Database();
  const hub = new WatchHub();
  const pending = new Map<number, readonly StoreChange[]>();
  const raft: Raft = await startRaft({
    id: options.id,
    log: openLog(options.dir),
    snapshots: openSnapshots(`${options.dir}/snapshots`),
    logger: options.logger.child({ component: 'raft' }),
    snapshotEvery: options.snapshotEvery ?? 10_000,
    trailing: options.trailing ?? 500,
    onFatal: options.onFatal,
    machine: {
      apply({ index, kind, payload }) {
        if (kind === 'noop') return;
        const own = pending.get(index);
        pending.delete(index);
        const changes = own ?? decodeChanges(payload, index, committed);
        committed.apply(index, changes);
        if (own === undefined) newest.apply(index, changes);
        hub.publish({ version: index, changes });
      },
      snapshot: () => storeSnapshotCodec.encode({ version: committed.version, objects: allObjects(committed) }),
      restore({ data }) {
        const { version, objects } = storeSnapshotCodec.decode(data);
        committed = new Database();
        newest = new Database();
        const changes = objects.map((object) => creation(object));
        committed.apply(version, changes);
        newest.apply(version, changes);
      },
    },
  });

  const store: Store = {
    view: (read) => read(committed),
    async update(write) {
      await Promise.resolve();
      const overlay = new Overlay(newest);
      const result = write(overlay);
      const index = raft.nextIndex;
      const time = clock.now();
      const changes = overlay.changes(index, time);
      if (changes.length === 0) return result;
      const payload = storeEntryCodec.encode({ time, changes: changes.map(toWire) });
      if (payload.length > MAX_TRANSACTION_BYTES) {
        throw new TsswarmError(
          'TOO_LARGE',
          `storing a transaction of ${payload.length} bytes: at most ${MAX_TRANSACTION_BYTES} are allowed`,
          {
            hint: 'split the project, or keep large files in volumes instead of secrets and configs',
          },
        );
      }
      const done = raft.propose(payload);
      pending.set(index, changes);
      newest.apply(index, changes);
      await done;
      return result;
    },
    viewAndWatch<R>(read: (tx: ReadTransaction) => R) {
      return { result: read(committed), watch: hub.open() };
    },
  };
  return {
    store,
    status: () => raft.status(),
    async close() {
      hub.close();
      await raft.close();
    },
  };
}

function toWire({ table, id, before, after }: StoreChange): StoreEntryChange {
  if (after === undefined) return { action: 'remove', table, id };
  return { action: before === undefined ? 'create' : 'update', table, id, object: { [table]: after } };
}

function decodeChanges(payload: Uint8Array, version: number, database: Database): readonly StoreChange[] {
  return storeEntryCodec.decode(payload).changes.map(({ table, id, object }) => {
    const after = object?.[table];
    const before = database.get(table, id as never);
    return { table, id, before, after: after === undefined ? undefined : freeze(after, version) } as StoreChange;
  });
}

function freeze<T extends TableName>(object: Tables[T], version: number): Tables[T] {
  return Object.freeze({ ...object, meta: { ...object.meta, version } }) as Tables[T];
}

function allObjects(database: Database): StoredObject[] {
  return TABLE_NAMES.flatMap((table) => database.list(table).map((object) => ({ [table]: object }) as StoredObject));
}

function creation(stored: StoredObject): StoreChange {
  const table = TABLE_NAMES.find((name) => stored[name] !== undefined);
  const object = table === undefined ? undefined : stored[table];
  if (table === undefined || object === undefined)
    throw new TsswarmError('CORRUPT', 'reading a snapshot: an object without a table');
  return { table, id: object.id, before: undefined, after: Object.freeze(object) } as StoreChange;
}
