import type { ClusterSpec } from '../../proto/types/index.ts';
import { DEFAULT_MAX_SNAPSHOTS, DEFAULT_SNAPSHOT_INTERVAL } from '../cluster/spec.ts';
import { openLog } from '../raft/log/disk.ts';
import { startRaft } from '../raft/loop.ts';
import type { RaftOptions } from '../raft/loop.ts';
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
}

export interface OpenStore {
  readonly store: ResumableStore;
  /** Leadership, members, linearizable reads. */
  readonly raft: Raft;
  status(): RaftStatus;
  close(): Promise<void>;
}

/**
 * Opens the replicated store: whatever was acknowledged before is there.
 * @throws CORRUPT when the disk lost data
 */
export async function openStore(options: StoreOptions): Promise<OpenStore> {
  const { dir, ...raftOptions } = options;
  const replicated = replicatedStore(options.clock);
  const spec = (): ClusterSpec | undefined => replicated.view((tx) => tx.list('cluster')[0])?.spec;
  const raft: Raft = await startRaft({
    snapshotEvery: () => spec()?.snapshotInterval ?? DEFAULT_SNAPSHOT_INTERVAL,
    // As swarmkit, for followers that lag a little.
    trailing: 500,
    ...raftOptions,
    log: openLog(dir),
    snapshots: openSnapshots(`${dir}/snapshots`, () => spec()?.maxSnapshots ?? DEFAULT_MAX_SNAPSHOTS),
    logger: options.logger.child({ component: 'raft' }),
    machine: replicated.machine,
  });
  const { store, close } = replicated.attach(raft);
  return {
    store,
    raft,
    status: () => raft.status(),
    async close() {
      close();
      await raft.close();
    },
  };
}
