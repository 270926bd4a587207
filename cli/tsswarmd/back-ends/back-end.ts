import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import type { ManagerGroup } from '../../../manager/cluster/group.ts';
import type { Vault } from '../../../manager/raft/seal/index.ts';
import type { LeadershipSource, Store } from '../../../manager/store/index.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { raftService } from '../../../proto/rpc/services.ts';
import type { DaemonStatusResponse, EtcdAccess } from '../../../proto/types/index.ts';

/** What `tsswarm status` tells of a manager's store. */
export type StoreFacts = Pick<DaemonStatusResponse, 'raftState' | 'raftTerm' | 'raftCommit' | 'storeVersion' | 'store'>;

/** What a manager keeps the cluster's state with, and decides with the other managers by. */
export interface BackEnd {
  readonly store: Store;
  readonly leadership: LeadershipSource;
  readonly group: ManagerGroup;
  /** Answers other managers. */
  readonly peers: ServiceHandlers<typeof raftService>;
  /** How this manager stands with the others: not let in yet, let in under another address than its present one, or let in. */
  standing(): 'new' | 'moved' | 'member';
  facts(): Promise<StoreFacts>;
  /** The way to the store, for managers that join; undefined: each keeps it itself. */
  access(): EtcdAccess | undefined;
  /**
   * Resolves when a first manager may write the cluster down.
   * @throws ALREADY_EXISTS when there is one there by now; UNAVAILABLE
   */
  whenMayFound(): Promise<void>;
  /** The cluster is written down. */
  founded(): void;
  /** The cluster is given up: what others would find of it is removed. @throws UNAVAILABLE */
  giveUp(): Promise<void>;
  /** What it does besides on the manager that leads, until `signal` aborts. */
  lead?(signal: AbortSignal): Promise<void>;
  /** Seals with the newest key what is on this node's disk; undefined: the state is not there, and there is nothing to lock. */
  readonly reseal: (() => Promise<void>) | undefined;
  close(): Promise<void>;
}

export interface BackEndOptions {
  readonly nodeId: NodeId;
  /** Folder of the manager's own files. */
  readonly dir: string;
  readonly advertiseAddr: string;
  /** Whether this manager begins a cluster. */
  readonly isFirst: boolean;
  /** The keys that seal what the back end keeps on this node's disk. */
  readonly vault: () => Vault;
  /** The other managers are lost for good: go on alone. */
  readonly forceNewCluster: boolean;
  /** Of this node; there is none while the first manager makes its cluster. @throws INTERNAL then */
  readonly identity: () => LiveIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
}
