import type { ClusterSpec } from '../../proto/types/index.ts';
import { DEFAULT_MAX_SNAPSHOTS, DEFAULT_SNAPSHOT_INTERVAL } from '../cluster/spec.ts';
import { openSealedLog } from '../raft/log/disk.ts';
import { startRaft } from '../raft/loop.ts';
import type { RaftOptions } from '../raft/loop.ts';
import { dekDisk, openVault } from '../raft/seal/index.ts';
import type { Vault } from '../raft/seal/index.ts';
import { openSnapshots } from '../raft/snapshot/disk.ts';
import type { Raft, RaftStatus } from '../raft/types.ts';
import { replicatedStore } from './replicated.ts';
import type { ResumableStore } from './types.ts';

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
  readonly store: ResumableStore;
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
  const { random } = options;
  const vault = given ?? openVault(dekDisk(dekFile(dir), random), undefined, random);
  const replicated = replicatedStore(options.clock);
  const spec = (): ClusterSpec | undefined => replicated.view((tx) => tx.list('cluster')[0])?.spec;
  const snapshots = openSnapshots(`${dir}/snapshots`, {
    sealer: vault,
    older: () => spec()?.maxSnapshots ?? DEFAULT_MAX_SNAPSHOTS,
  });
  // As they may be from before anything was sealed.
  await snapshots.reseal();
  const log = await openSealedLog(dir, options.clock, vault, random);
  const raft: Raft = await startRaft({
    snapshotEvery: () => spec()?.snapshotInterval ?? DEFAULT_SNAPSHOT_INTERVAL,
    // As swarmkit, for followers that lag a little.
    trailing: 500,
    ...raftOptions,
    log,
    snapshots,
    logger: options.logger.child({ component: 'raft' }),
    machine: replicated.machine,
  });
  const { store, close } = replicated.attach(raft);
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
      close();
      await raft.close();
    },
  };
}
