import { TsswarmError } from '../../base/errors.ts';
import { storeEntryCodec } from '../../proto/codec/store.ts';
import { openSealedLog } from '../raft/log/disk.ts';
import { startRaft } from '../raft/loop.ts';
import type { RaftOptions } from '../raft/loop.ts';
import { dekDisk, openVault } from '../raft/seal/index.ts';
import type { Vault } from '../raft/seal/index.ts';
import { openSnapshots } from '../raft/snapshot/disk.ts';
import type { Raft, RaftStatus } from '../raft/types.ts';
import { Database } from './database.ts';
import { MAX_TRANSACTION_BYTES, fromWire, toWire } from './entry.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts';
import { Overlay } from './transaction.ts';
import type { ReadTransaction, Store, StoreChange } from './types.ts';
import { WatchHub } from './watch.ts';

/** Which members there are and how they talk is Raft's business: those options go to it as they are. */
export interface StoreOptions
  extends
    Pick<RaftOptions, 'id' | 'clock' | 'random' | 'logger' | 'onFatal'>,
    Partial<
      Pick<
        RaftOptions,
        | 'address'
        | 'transport'
        | 'bootstrap'
        | 'forceNewCluster'
        | 'electionTimeoutMs'
        | 'heartbeatMs'
        | 'snapshotEvery'
        | 'trailing'
      >
    > {
  /** Folder of log and snapshots. */
  readonly dir: string;
  /** Seals both at rest; absent: with the keys in the folder, which must not be locked. */
  readonly vault?: Vault;
}

/** Where a store keeps the keys that its log is sealed with. */
export const dekFile = (dir: string): string => `${dir}/dek.json`;

export interface OpenStore {
  readonly store: Store;
  /** Leadership, members, linearizable reads. */
  readonly raft: Raft;
  status(): RaftStatus;
  /** Seals with the newest key what older ones sealed. */
  reseal(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the replicated store: whatever was acknowledged before is there.
 * @throws CORRUPT when the disk lost data; LOCKED, PERMISSION_DENIED when its keys are not at hand
 */
export async function openStore(options: StoreOptions): Promise<OpenStore> {
  const { dir, vault: given, ...raftOptions } = options;
  const { clock, random } = options;
  const vault = given ?? openVault(dekDisk(dekFile(dir), random), undefined, random);
  const snapshots = openSnapshots(`${dir}/snapshots`, vault);
  // As they may be from before anything was sealed.
  await snapshots.reseal();
  const log = await openSealedLog(dir, vault);
  // `committed` is what readers see; `newest` runs ahead by what is on its way to disk, so that transactions queue up
  // behind one another without waiting for each other's sync. They share the objects.
  let committed = new Database();
  let newest = new Database();
  const hub = new WatchHub();
  const pending = new Map<number, readonly StoreChange[]>();
  const raft: Raft = await startRaft({
    // As swarmkit: 10,000 entries, 500 kept for followers that lag a little.
    snapshotEvery: 10_000,
    trailing: 500,
    ...raftOptions,
    log,
    snapshots,
    logger: options.logger.child({ component: 'raft' }),
    machine: {
      apply({ index, kind, payload }) {
        if (kind !== 'command') return;
        const own = pending.get(index);
        pending.delete(index);
        const changes = own ?? fromWire(storeEntryCodec.decode(payload).changes, index, committed);
        committed.apply(index, changes);
        if (own === undefined) newest.apply(index, changes);
        hub.publish({ version: index, changes });
      },
      snapshot: () => encodeSnapshot(committed, clock),
      async restore({ data }) {
        // Readers see the old state until all of the new one is there.
        ({ committed, newest } = await decodeSnapshot(data, clock));
        pending.clear();
        hub.close(new TsswarmError('UNAVAILABLE', 'watching the store: a snapshot replaced it; read and watch again'));
      },
    },
  });
  let leading = raft.status().ready;
  const stopObserving = raft.observe((event) => {
    if (event.kind === 'leader') leading = event.isSelf;
    if (event.kind !== 'role' || event.role === 'leader') return;
    leading = false;
    if (pending.size === 0) return;
    // What was proposed may never come to be: nobody may build on it.
    pending.clear();
    newest = committed.clone();
  });

  const store: Store = {
    view: (read) => read(committed),
    async update(write) {
      await Promise.resolve();
      if (!leading) throw notLeader(raft.status());
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
      // Refused: it has no index, and nothing may build on it.
      if (raft.nextIndex === index) return done.then(() => result);
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
    raft,
    status: () => raft.status(),
    reseal: () =>
      raft.maintain(async () => {
        await log.reseal();
        await snapshots.reseal();
      }),
    async close() {
      stopObserving();
      hub.close();
      await raft.close();
    },
  };
}

function notLeader({ leaderId, servers }: RaftStatus): TsswarmError {
  const leader = servers.find(({ id }) => id === leaderId);
  const hint =
    leader === undefined ? 'no leader is known at the moment' : `the leader is "${leader.id}" at "${leader.address}"`;
  return new TsswarmError('NOT_LEADER', 'changing the store: this manager does not lead', { hint });
}
