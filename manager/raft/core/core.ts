import type { Random } from '../../../base/random.ts';
import { assertNever } from '../../../base/assert-never.ts';
import type { Configuration, RaftMessage, ServerId, SnapshotMeta } from '../types.ts';
import { electionTimeout, onHardStatePersisted, onPreVote, onPreVoteAnswer, onVote, onVoteAnswer } from './election.ts';
import { heartbeat } from './heartbeat.ts';
import { leaderTick } from './leadership.ts';
import type { RaftLog } from './log.ts';
import { changeMembership } from './membership.ts';
import { answerRounds, read, startRound } from './read-index.ts';
import {
  appendOwn,
  commitByCount,
  onAppend,
  onAppendAnswer,
  onHeartbeat,
  onHeartbeatAnswer,
  onPersisted,
  replicate,
} from './replication.ts';
import { becomeFollower, resetElectionDeadline } from './role.ts';
import {
  onInstallAnswer,
  onInstallSnapshot,
  onSnapshotInstalled,
  onSnapshotTaken,
  onSnapshotUnavailable,
} from './snapshot.ts';
import type { Core, CoreConfig, RaftEffect, RaftInput } from './state.ts';
import { isVoter, refuse } from './state.ts';
import { continueTransfer, onTimeoutNow, transfer, transferTick } from './transfer.ts';

/** What a server's disk has when it starts. */
export interface Restored {
  readonly term: number;
  readonly votedFor: ServerId;
  readonly log: RaftLog;
  readonly snapshot: SnapshotMeta | undefined;
  /** In the order of their indexes: the snapshot's, then those in the log. */
  readonly configurations: readonly Configuration[];
}

/** A server at its start: a follower that knows nothing committed but its snapshot. */
export function createCore(config: CoreConfig, random: Random, restored: Restored, now: number): Core {
  const { log, snapshot } = restored;
  const core: Core = {
    config,
    random,
    log,
    term: restored.term,
    votedFor: restored.votedFor,
    role: 'follower',
    leaderId: '',
    commitIndex: snapshot?.index ?? 0,
    persistedIndex: log.lastIndex,
    sequence: 0,
    writes: [],
    snapshot,
    configurations: [...restored.configurations],
    electionDeadlineMs: 0,
    lastLeaderContactMs: -Infinity,
    leaderContactTerm: 0,
    startedMs: now,
    silence: { ms: 0, notedMs: now },
    votes: new Map(),
    askedMs: -Infinity,
    incoming: undefined,
    peers: new Map(),
    termStart: Infinity,
    heartbeatDueMs: 0,
    judgesNext: false,
    uncommitted: [],
    uncommittedBytes: 0,
    transfer: undefined,
    hasHandedOver: false,
    readRound: 0,
    roundsSent: [],
    reads: [],
    rounds: [],
    effects: [],
  };
  resetElectionDeadline(core, now);
  // The only voter need not wait for anybody. Where the log still knows of another one, that may lead, and hold a lease by what this server
  // has answered before it was started again: it need not know yet that the others are out.
  const isAlone = core.configurations.every(({ servers: all }) =>
    all.every(({ id, voter }) => !voter || id === config.id),
  );
  if (isAlone && isVoter(core, config.id)) core.electionDeadlineMs = now;
  return core;
}

/**
 * What an event makes of a server, and what has to be done for it. Call `flush` after one or several.
 * @param now monotonic ms
 */
export function step(core: Core, input: RaftInput, now: number): readonly RaftEffect[] {
  handle(core, input, now);
  return takeEffects(core);
}

/** What follows from the steps since the last flush: entries to send, reads to confirm. Once a turn, so that it is batched. */
export function flush(core: Core, now: number): readonly RaftEffect[] {
  if (core.role !== 'leader') return [];
  continueTransfer(core);
  // A change of members may have made a quorum of those who answered already.
  answerRounds(core);
  if (startRound(core)) heartbeat(core, now);
  replicate(core, now);
  return takeEffects(core);
}

/** When the next "tick" is due, in monotonic ms. */
export function nextDeadline(core: Core): number {
  if (core.role !== 'leader') return core.electionDeadlineMs;
  return Math.min(core.heartbeatDueMs, core.transfer?.deadlineMs ?? Infinity);
}

function handle(core: Core, input: RaftInput, now: number): void {
  switch (input.kind) {
    case 'tick':
      transferTick(core, now);
      if (core.role === 'leader') leaderTick(core, now);
      else if (now >= core.electionDeadlineMs) electionTimeout(core, now);
      return;
    case 'message':
      return onMessage(core, input.message, now);
    case 'propose':
      return propose(core, input.payload, now);
    case 'change-membership':
      return changeMembership(core, input.change, now);
    case 'transfer':
      return transfer(core, input.to, now);
    case 'read':
      return read(core, input.id);
    case 'hard-state-persisted':
      return onHardStatePersisted(core, input.term, now);
    case 'persisted':
      return onPersisted(core, input.sequence, now);
    case 'snapshot-taken':
      return onSnapshotTaken(core, input.snapshot, input.compactTo);
    case 'snapshot-installed':
      return onSnapshotInstalled(core);
    case 'snapshot-unavailable':
      return onSnapshotUnavailable(core, input.to);
    default:
      return assertNever(input);
  }
}

function onMessage(core: Core, message: RaftMessage, now: number): void {
  if (message.to !== core.config.id) return;
  switch (message.kind) {
    case 'pre-vote':
      return onPreVote(core, message, now);
    case 'pre-vote-answer':
      return onPreVoteAnswer(core, message, now);
    case 'vote':
      return onVote(core, message, now);
    case 'vote-answer':
      return onVoteAnswer(core, message, now);
    case 'append':
      return onAppend(core, message, now);
    case 'heartbeat':
      return onHeartbeat(core, message, now);
    case 'install-snapshot':
      return onInstallSnapshot(core, message, now);
    case 'timeout-now':
      return onTimeoutNow(core, message, now);
    case 'append-answer':
    case 'heartbeat-answer':
    case 'install-snapshot-answer':
      if (message.term > core.term) return becomeFollower(core, message.term, '', now);
      // Answers to an earlier leadership of this server say nothing about the log that it has now.
      if (message.term < core.term || core.role !== 'leader') return;
      if (message.kind === 'append-answer') return onAppendAnswer(core, message, now);
      if (message.kind === 'heartbeat-answer') return onHeartbeatAnswer(core, message, now);
      onInstallAnswer(core, message, now);
      return commitByCount(core, now);
    default:
      return assertNever(message);
  }
}

function propose(core: Core, payload: Uint8Array, now: number): void {
  if (core.role !== 'leader') return refuse(core, 'NOT_LEADER', 'this manager does not lead');
  if (core.transfer !== undefined) return refuse(core, 'UNAVAILABLE', 'leadership is being handed over');
  if (core.uncommittedBytes > 0 && core.uncommittedBytes + payload.length > core.config.maxUncommittedBytes)
    return refuse(core, 'UNAVAILABLE', `${core.uncommittedBytes} bytes wait to be committed already`);
  const index = appendOwn(core, 'command', payload, now);
  core.effects.push({ kind: 'accepted', index, term: core.term });
}

function takeEffects(core: Core): readonly RaftEffect[] {
  if (core.effects.length === 0) return core.effects;
  const { effects } = core;
  core.effects = [];
  return effects;
}
