import type { Random } from '../../../base/random.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import type { Configuration, Entry, RaftMessage, Role, Server, ServerId, SnapshotMeta } from '../types.ts';
import type { RaftLog } from './log.ts';
import type { Progress } from './progress.ts';

/** What does not change while a server runs. Times in ms. */
export interface CoreConfig {
  readonly id: ServerId;
  readonly address: string;
  /** An election starts between one and two of these without a leader, at the earliest; also what the leader's lease is a part of. */
  readonly electionTimeoutMs: number;
  /** Election timeouts that a server waits at most, where silences show that it has to be patient. */
  readonly maxPatience: number;
  readonly heartbeatMs: number;
  /** Asks before it campaigns; off only where a simulation looks for what elections alone can do. */
  readonly preVote: boolean;
  readonly maxAppendEntries: number;
  readonly maxAppendBytes: number;
  /** Messages and payload bytes under way to one peer. */
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Messages under way to one peer from which on only full ones follow; what is less waits for an answer and gathers. */
  readonly maxPartialMessages: number;
  /** Payload bytes proposed and not yet committed; more is refused. */
  readonly maxUncommittedBytes: number;
}

/** Defaults of everything but the identity. */
export const CORE_DEFAULTS = {
  electionTimeoutMs: 300,
  maxPatience: 4,
  heartbeatMs: 50,
  preVote: true,
  maxAppendEntries: 1024,
  maxAppendBytes: 1024 * 1024,
  maxInflightMessages: 64,
  maxInflightBytes: 8 * 1024 * 1024,
  maxPartialMessages: 2,
  maxUncommittedBytes: 64 * 1024 * 1024,
} as const;

export type MembershipChange =
  | { readonly kind: 'add'; readonly server: Server }
  | { readonly kind: 'remove'; readonly id: ServerId }
  | { readonly kind: 'promote'; readonly id: ServerId }
  | { readonly kind: 'demote'; readonly id: ServerId }
  | { readonly kind: 'update-address'; readonly id: ServerId; readonly address: string };

/** What happens to a server. */
export type RaftInput =
  /** Time passed; due at `nextDeadline`, harmless at any time. */
  | { readonly kind: 'tick' }
  | { readonly kind: 'message'; readonly message: RaftMessage }
  /** Answered by "accepted" or "refused" among the effects. */
  | { readonly kind: 'propose'; readonly payload: Uint8Array }
  /** Answered by "accepted" or "refused". */
  | { readonly kind: 'change-membership'; readonly change: MembershipChange }
  /** Answered by "refused", or at its end by "transfer-ended". */
  | { readonly kind: 'transfer'; readonly to: ServerId | undefined }
  /** Answered by "read-ready", or by "reads-lost". */
  | { readonly kind: 'read'; readonly id: number }
  | { readonly kind: 'hard-state-persisted'; readonly term: number }
  /** The disk did everything up to the append or truncation with this number. */
  | { readonly kind: 'persisted'; readonly sequence: number }
  /** A snapshot of the own state machine is on disk; entries up to `compactTo` may go. */
  | { readonly kind: 'snapshot-taken'; readonly snapshot: SnapshotMeta; readonly compactTo: number }
  /** The snapshot of the last "install-snapshot" is on disk and in the state machine. */
  | { readonly kind: 'snapshot-installed' }
  /** What "send-chunk" asked for is not there any more. */
  | { readonly kind: 'snapshot-unavailable'; readonly to: ServerId };

/** What has to be done for it, in this order. */
export type RaftEffect =
  | { readonly kind: 'save-hard-state'; readonly term: number; readonly votedFor: ServerId }
  | { readonly kind: 'append'; readonly entries: readonly Entry[]; readonly sequence: number }
  /** Drops entries from `from` on; what is appended next takes their places. */
  | { readonly kind: 'truncate'; readonly from: number; readonly sequence: number }
  /** `durable`: only once the disk did all that comes before in the effects. */
  | { readonly kind: 'send'; readonly to: Server; readonly message: RaftMessage; readonly durable: boolean }
  /** Send the bytes of this snapshot from `offset` on as an "install-snapshot" message. */
  | { readonly kind: 'send-chunk'; readonly to: Server; readonly snapshot: SnapshotMeta; readonly offset: number }
  /** Keep these bytes of a snapshot that arrives; at offset 0 whatever was kept before is void. */
  | { readonly kind: 'keep-chunk'; readonly offset: number; readonly data: Uint8Array }
  /** All bytes are there: write it to disk, restore it, and drop the log (all of it, or only what it covers). */
  | { readonly kind: 'install-snapshot'; readonly snapshot: SnapshotMeta; readonly resetLog: boolean }
  /** Entries up to `index` are committed: apply them. */
  | { readonly kind: 'commit'; readonly index: number }
  | { readonly kind: 'accepted'; readonly index: number; readonly term: number }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly reason: string }
  | { readonly kind: 'role'; readonly role: Role; readonly term: number; readonly leaderId: ServerId }
  | { readonly kind: 'read-ready'; readonly ids: readonly number[]; readonly index: number }
  | { readonly kind: 'reads-lost'; readonly ids: readonly number[] }
  | { readonly kind: 'transfer-ended'; readonly ok: boolean }
  | { readonly kind: 'membership'; readonly configuration: Configuration; readonly committed: boolean }
  | { readonly kind: 'peer'; readonly id: ServerId; readonly reachable: boolean };

/** A batch of reads that waits for its round of heartbeats. */
export interface ReadRound {
  readonly round: number;
  readonly index: number;
  readonly ids: readonly number[];
}

/**
 * Everything a server knows. It belongs to the driver that made it and is changed only by `step` and `flush`, in place: a
 * copy for each message would cost more than the message. Nothing in it refers to a clock, disk or socket.
 */
export interface Core {
  readonly config: CoreConfig;
  readonly random: Random;
  readonly log: RaftLog;
  /** Latest term seen; only grows, and is on disk before anything is promised in it. */
  term: number;
  /** Who got this server's vote in `term`; "" is nobody. */
  votedFor: ServerId;
  role: Role;
  leaderId: ServerId;
  commitIndex: number;
  /** Index up to which the own disk has the log. */
  persistedIndex: number;
  sequence: number;
  /** Appends and truncations that the disk has not confirmed, and up to where the log will be persisted with each. */
  writes: { readonly sequence: number; index: number }[];
  /** Newest snapshot on disk. */
  snapshot: SnapshotMeta | undefined;
  /** The newest committed configuration and at most a newer one; the last one is in force. */
  configurations: Configuration[];
  electionDeadlineMs: number;
  lastLeaderContactMs: number;
  /** The term of that leader. */
  leaderContactTerm: number;
  /** When this server began: what it promised before is not known any more. */
  startedMs: number;
  /** The longest silence of late that ended by itself, ms, and when it did. */
  silence: { readonly ms: number; readonly notedMs: number };
  votes: Map<ServerId, boolean>;
  /** When it last asked whether an election would succeed. */
  askedMs: number;
  /** A snapshot that arrives, and whether it is being installed. */
  incoming: { readonly meta: SnapshotMeta; readonly from: ServerId; offset: number; installing: boolean } | undefined;
  /** Everything below is the leader's. */
  peers: Map<ServerId, Progress>;
  /** Index of the first entry of this leadership; only from there on entries are committed by count (paper, 5.4.2). */
  termStart: number;
  heartbeatDueMs: number;
  /** The last tick came so late that the others were not judged. */
  judgesNext: boolean;
  uncommitted: { readonly index: number; readonly bytes: number }[];
  uncommittedBytes: number;
  transfer: { readonly to: ServerId; readonly deadlineMs: number; sent: boolean } | undefined;
  /** Somebody was told in this term to stand for election. */
  hasHandedOver: boolean;
  /** Number of the newest round of heartbeats. */
  readRound: number;
  /** When the newest rounds were sent, ms; the last is `readRound`. */
  roundsSent: number[];
  /** Reads that wait for the next round, and rounds that wait for their quorum. */
  reads: number[];
  rounds: ReadRound[];
  effects: RaftEffect[];
}

type WithoutEnvelope<M> = M extends RaftMessage ? Omit<M, 'from' | 'fromAddress' | 'to' | 'term'> : never;

/** Queues a message in the server's own term, or in `term`. */
export function send(
  core: Core,
  to: Server,
  body: WithoutEnvelope<RaftMessage>,
  options: { readonly durable?: boolean; readonly term?: number } = {},
): void {
  const message = {
    ...body,
    term: options.term ?? core.term,
    from: core.config.id,
    fromAddress: core.config.address,
    to: to.id,
  } as RaftMessage;
  core.effects.push({ kind: 'send', to, message, durable: options.durable ?? false });
}

/** Whom to answer: the sender need not be in the configuration that this server knows. */
export function senderOf(message: RaftMessage): Server {
  return { id: message.from, address: message.fromAddress, voter: false };
}

/** The configuration in force: the newest in the log, committed or not (thesis, 4.1). */
export function servers(core: Core): readonly Server[] {
  return core.configurations.at(-1)?.servers ?? [];
}

export function isVoter(core: Core, id: ServerId): boolean {
  return servers(core).some((server) => server.id === id && server.voter);
}

/** Whether those for which `holds` is true are a majority of the voters; of no voters nothing is. */
export function quorum(core: Core, holds: (id: ServerId) => boolean): boolean {
  let voters = 0;
  let count = 0;
  for (const { id, voter } of servers(core)) {
    if (!voter) continue;
    voters++;
    if (holds(id)) count++;
  }
  return voters > 0 && count * 2 > voters;
}

export function saveHardState(core: Core): void {
  core.effects.push({ kind: 'save-hard-state', term: core.term, votedFor: core.votedFor });
}

export function announce(core: Core): void {
  core.effects.push({ kind: 'role', role: core.role, term: core.term, leaderId: core.leaderId });
}

export function refuse(core: Core, code: ErrorCode, reason: string): void {
  core.effects.push({ kind: 'refused', code, reason });
}
