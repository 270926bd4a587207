/** Id of a server: the node's id, never used again after the node was removed. */
export type ServerId = string;

/** A member of the Raft group. */
export interface Server {
  readonly id: ServerId;
  /** Where its transport listens, as "host:port". */
  readonly address: string;
  /** Whether it counts in elections and commits; a non-voter only receives the log (thesis, 4.2.1). */
  readonly voter: boolean;
}

/** "noop" opens a term: it lets a leader commit what earlier terms left behind. "configuration" holds the members. */
export type EntryKind = 'noop' | 'command' | 'configuration';

export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly payload: Uint8Array;
}

/** "pre-candidate": it asks whether it could win, before it disturbs anybody with a new term (thesis, 9.6). */
export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/** The members as of one log entry. */
export interface Configuration {
  /** Index of the entry; 0: not in the log (a cluster of one from before configurations were logged). */
  readonly index: number;
  readonly servers: readonly Server[];
}

/** What a snapshot stands for: all entries up to `index`. */
export interface SnapshotMeta {
  readonly index: number;
  /** Term of the entry at `index`. */
  readonly term: number;
  /** The newest committed configuration at `index`. */
  readonly configuration: Configuration;
}

interface MessageBase {
  /** The sender's term; in "pre-vote" and its granted answer the term that the election would have. */
  readonly term: number;
  readonly from: ServerId;
  /** Where answers go: a joining server knows nobody's address. */
  readonly fromAddress: string;
  /** Who it is meant for: another server may have taken over the address. */
  readonly to: ServerId;
}

export interface PreVoteMessage extends MessageBase {
  readonly kind: 'pre-vote';
  readonly lastIndex: number;
  readonly lastTerm: number;
}
export interface PreVoteAnswer extends MessageBase {
  readonly kind: 'pre-vote-answer';
  readonly granted: boolean;
}
export interface VoteMessage extends MessageBase {
  readonly kind: 'vote';
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader asked for this election: a fresh leader is no reason to refuse (thesis, 3.10 and 4.2.3). */
  readonly transfer: boolean;
}
export interface VoteAnswer extends MessageBase {
  readonly kind: 'vote-answer';
  readonly granted: boolean;
}
export interface AppendMessage extends MessageBase {
  readonly kind: 'append';
  readonly prevIndex: number;
  readonly prevTerm: number;
  /** Follow `prevIndex` without gap; empty: only the commit index, or a probe. */
  readonly entries: readonly Entry[];
  readonly commitIndex: number;
}
export interface AppendAnswer extends MessageBase {
  readonly kind: 'append-answer';
  readonly accepted: boolean;
  /** Accepted: the sender's disk has the leader's log up to here. Refused: the `prevIndex` that did not fit. */
  readonly index: number;
  /** Refused: the leader need not look above this index and term (0 and 0 when accepted). */
  readonly hintIndex: number;
  readonly hintTerm: number;
}
export interface HeartbeatMessage extends MessageBase {
  readonly kind: 'heartbeat';
  /** At most what the leader knows the receiver to have. */
  readonly commitIndex: number;
  /** Number of the newest verify-leader round; comes back in the answer. */
  readonly round: number;
}
export interface HeartbeatAnswer extends MessageBase {
  readonly kind: 'heartbeat-answer';
  /** The heartbeat's; 0: it was of an older term, and this confirms nothing. */
  readonly round: number;
}
export interface TimeoutNowMessage extends MessageBase {
  readonly kind: 'timeout-now';
}
export interface InstallSnapshotMessage extends MessageBase {
  readonly kind: 'install-snapshot';
  readonly snapshot: SnapshotMeta;
  /** Bytes before this chunk. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** The last chunk. */
  readonly done: boolean;
}
export interface InstallSnapshotAnswer extends MessageBase {
  readonly kind: 'install-snapshot-answer';
  readonly snapshotIndex: number;
  /** The byte that the receiver wants next. */
  readonly offset: number;
  /** It is installed, or was not needed: the receiver has everything up to `snapshotIndex`. */
  readonly done: boolean;
}

/** Everything servers say to one another; plain objects. */
export type RaftMessage =
  | PreVoteMessage
  | PreVoteAnswer
  | VoteMessage
  | VoteAnswer
  | AppendMessage
  | AppendAnswer
  | HeartbeatMessage
  | HeartbeatAnswer
  | TimeoutNowMessage
  | InstallSnapshotMessage
  | InstallSnapshotAnswer;

/**
 * Carries messages, best effort: it may lose, delay, duplicate and reorder them, and never blocks the caller. Heartbeats,
 * votes and their answers should not queue behind appends and snapshots. One entry may be as large as the largest
 * transaction of the store (16 MiB).
 */
export interface Transport {
  send(to: Server, messages: readonly RaftMessage[]): void;
  /** One listener; what arrives before there is one may be dropped. */
  onMessages(listener: (messages: readonly RaftMessage[]) => void): void;
  close(): Promise<void>;
}

/** What observers hear of. */
export type RaftObservation =
  /**
   * Who leads, as this server knows; "" while nobody is known to. For itself it is told only when everything that earlier
   * leaders left is applied, so that whoever decides from then on sees all of it.
   */
  | {
      readonly kind: 'leader';
      readonly leaderId: ServerId;
      readonly address: string;
      readonly isSelf: boolean;
      readonly term: number;
    }
  | { readonly kind: 'role'; readonly role: Role; readonly term: number }
  /** On the leader: a peer did not answer for as long as one that lives may take, or answers again. */
  | { readonly kind: 'peer'; readonly id: ServerId; readonly reachable: boolean }
  /** Takes effect on append; `committed` tells whether it can still be rolled back. */
  | {
      readonly kind: 'membership';
      readonly servers: readonly Server[];
      readonly index: number;
      readonly committed: boolean;
    };

/** A member as the status shows it. */
export interface ServerStatus extends Server {
  /** Index up to which it has the leader's log; only the leader knows, others say 0. */
  readonly matchIndex: number;
  /** Monotonic ms of its last answer to this leader; undefined on followers and for itself. */
  readonly lastContactMs: number | undefined;
  readonly reachable: boolean;
}

export interface RaftStatus {
  readonly role: Role;
  /** Leads and has applied everything from before its term: takes proposals. */
  readonly ready: boolean;
  /** Surely nobody has been elected after this one, as long as clocks run apart by less than a tenth. */
  readonly holdsLease: boolean;
  readonly term: number;
  readonly commitIndex: number;
  readonly lastIndex: number;
  readonly appliedIndex: number;
  readonly snapshotIndex: number;
  /** "" while nobody is known to lead. */
  readonly leaderId: ServerId;
  readonly servers: readonly ServerStatus[];
}

/** A running server. */
export interface Raft {
  /** Index that the next proposal will get; only the leader may rely on it, and only within one turn. */
  readonly nextIndex: number;
  /**
   * Puts an entry into the log. Resolves when it is committed and applied here.
   * @throws NOT_LEADER (nothing happened; the hint names the leader), UNAVAILABLE (nothing happened: too much under way,
   *   or a transfer runs), OUTCOME_UNKNOWN when leadership or the disk was lost meanwhile
   */
  propose(payload: Uint8Array): Promise<void>;
  /**
   * Resolves when reads of the state machine here are linearizable: a quorum confirmed this leader after the call, and
   * everything committed by then is applied (thesis, 6.4).
   * @throws NOT_LEADER
   */
  readIndex(): Promise<void>;
  /**
   * Resolves when nobody else led at some moment after the call: at once while this leader holds its lease, else when a quorum has
   * confirmed it.
   * @throws NOT_LEADER
   */
  confirmLead(): Promise<void>;
  /**
   * Adds a member. A voter joins as a non-voter and is promoted when it has caught up; resolves when all of it is committed.
   * @throws NOT_LEADER, OUTCOME_UNKNOWN, ALREADY_EXISTS, CONFLICT while another change is under way,
   *   DEADLINE_EXCEEDED when it did not catch up (it stays as a non-voter)
   */
  addServer(server: Server): Promise<void>;
  /** @throws as addServer; NOT_FOUND; CONFLICT when no quorum of the remaining voters is reachable */
  removeServer(id: ServerId): Promise<void>;
  updateAddress(id: ServerId, address: string): Promise<void>;
  /** Waits until the server has caught up. @throws as addServer */
  promoteServer(id: ServerId): Promise<void>;
  demoteServer(id: ServerId): Promise<void>;
  /**
   * Hands leadership to `to`, or to the voter that is furthest. Proposals are refused meanwhile.
   * @throws NOT_LEADER, NOT_FOUND, UNAVAILABLE when it did not happen in time (this server leads on)
   */
  transferLeadership(to?: ServerId): Promise<void>;
  /**
   * Does something to log and snapshots while nothing else touches them; proposals wait meanwhile.
   * @throws what `work` throws, after which this server is dead as after any other failure of its disk
   */
  maintain(work: () => Promise<void>): Promise<void>;
  /** Listens until the returned function is called. */
  observe(listener: (event: RaftObservation) => void): () => void;
  status(): RaftStatus;
  close(): Promise<void>;
}
