import type { AppendAnswer, AppendMessage, EntryKind, HeartbeatAnswer, HeartbeatMessage } from '../types.ts';
import {
  configurationAppended,
  configurationsCommitted,
  configurationsTruncated,
  furthestVoter,
  leaderIsOut,
} from './configuration.ts';
import { heartbeat } from './heartbeat.ts';
import type { Progress } from './progress.ts';
import { addInflight, contact, dropInflight, hasRoom, toProbe, toReplicate } from './progress.ts';
import { answerRounds } from './read-index.ts';
import { noteAnswer } from './lease.ts';
import { becomeFollower, hearLeader } from './role.ts';
import { resumeSnapshot, startSnapshot } from './snapshot.ts';
import type { Core } from './state.ts';
import { send, senderOf, servers } from './state.ts';

/** Adds an entry of the leader's own; it counts for itself only when its disk says so. */
export function appendOwn(core: Core, kind: EntryKind, payload: Uint8Array, now: number): number {
  const entry = { index: core.log.lastIndex + 1, term: core.term, kind, payload };
  appendToLog(core, [entry], now);
  core.uncommitted.push({ index: entry.index, bytes: payload.length });
  core.uncommittedBytes += payload.length;
  return entry.index;
}

/**
 * Sends every peer what it lacks, as far as its window allows. What is committed it learns with the next entries or heartbeat: a
 * message for that alone, and its answer, would double the messages of a write that comes alone.
 */
export function replicate(core: Core, now: number): void {
  for (const server of servers(core)) {
    const progress = core.peers.get(server.id);
    if (progress !== undefined) while (sendAppend(core, server, progress, now));
  }
}

/** Sends one message; says whether there may be room and need for another. */
function sendAppend(core: Core, server: { id: string; address: string; voter: boolean }, to: Progress, now: number) {
  const { config, log } = core;
  if (to.mode === 'snapshot') return false;
  if (to.mode === 'probe' && to.paused) return false;
  const room = hasRoom(to, config.maxInflightMessages, config.maxInflightBytes);
  const more = to.next <= log.lastIndex && room && worthAMessage(core, to);
  if (to.mode === 'replicate' && !more && !to.nudge) return false;
  const prevIndex = to.next - 1;
  const prevTerm = log.termAt(prevIndex);
  if (prevTerm === undefined) {
    startSnapshot(core, server, to, now);
    return false;
  }
  const entries = more ? log.slice(to.next, log.lastIndex, config.maxAppendEntries, config.maxAppendBytes) : [];
  send(core, server, { kind: 'append', prevIndex, prevTerm, entries, commitIndex: core.commitIndex });
  to.nudge = false;
  if (to.mode === 'probe') {
    to.paused = true;
    return false;
  }
  const last = entries.at(-1);
  if (last === undefined) return false;
  addInflight(
    to,
    last.index,
    entries.reduce((sum, { payload }) => sum + payload.length, 0),
    now,
  );
  to.next = last.index + 1;
  return true;
}

/**
 * With nothing or little under way whatever there is goes at once, and alone if need be; behind that, only full messages go ahead
 * and the rest gathers until an answer comes (Nagle's rule, RFC 896). Many clients then share a message, one waits for nobody.
 */
function worthAMessage({ config, log, uncommittedBytes }: Core, to: Progress): boolean {
  if (to.inflight.length < config.maxPartialMessages) return true;
  return (
    log.lastIndex - to.next + 1 >= config.maxAppendEntries ||
    uncommittedBytes - to.inflightBytes >= config.maxAppendBytes
  );
}

/** The follower's side (paper, 5.3 and figure 2). */
export function onAppend(core: Core, message: AppendMessage, now: number): void {
  const to = senderOf(message);
  const answer = { kind: 'append-answer', hintIndex: 0, hintTerm: 0 } as const;
  if (message.term < core.term) {
    return send(core, to, { ...answer, accepted: false, index: message.prevIndex });
  }
  hearLeader(core, message.from, message.term, now);
  if (core.incoming?.installing === true) return;
  const { log } = core;
  const lastNew = message.prevIndex + message.entries.length;
  // What is committed here is in every later leader's log: nothing to compare, and it may be compacted away.
  const known = message.prevIndex < core.commitIndex;
  if (!known && log.termAt(message.prevIndex) !== message.prevTerm) {
    const hintIndex = log.lastPossibleMatch(message.prevIndex, message.prevTerm);
    const hintTerm = log.termAt(hintIndex) ?? 0;
    return send(core, to, { ...answer, accepted: false, index: message.prevIndex, hintIndex, hintTerm });
  }
  const fresh = message.entries.findIndex(({ index, term }) => index > core.commitIndex && log.termAt(index) !== term);
  if (fresh >= 0) {
    const entries = message.entries.slice(fresh);
    const first = message.prevIndex + 1 + fresh;
    // Only an entry that contradicts is a reason to drop what is there: the message may be an old one.
    if (first <= log.lastIndex) truncate(core, first);
    appendToLog(core, entries, now);
  }
  const index = Math.max(lastNew, known ? core.commitIndex : 0);
  advanceCommit(core, Math.min(message.commitIndex, lastNew), now);
  send(core, to, { ...answer, accepted: true, index }, { durable: true });
}

export function onAppendAnswer(core: Core, message: AppendAnswer, now: number): void {
  const progress = core.peers.get(message.from);
  if (progress === undefined) return;
  contact(core, message.from, progress, now);
  if (message.accepted) {
    if (message.index > core.log.lastIndex) throw new Error(`raft: "${message.from}" has more than its leader`);
    dropInflight(progress, message.index);
    if (message.index > progress.match) {
      progress.match = message.index;
      progress.lastProgressMs = now;
      progress.next = Math.max(progress.next, message.index + 1);
      if (progress.snapshot !== undefined && progress.match >= progress.snapshot.meta.index) toReplicate(progress);
      commitByCount(core, now);
    }
    if (progress.mode === 'probe' && message.index >= progress.match) toReplicate(progress);
    return;
  }
  // An answer to a message from before the last change of plan says nothing new.
  if (progress.mode === 'snapshot') return;
  if (progress.mode === 'replicate') {
    if (message.index > progress.match) toProbe(progress, progress.match + 1);
    return;
  }
  if (message.index !== progress.next - 1) return;
  const agreed = core.log.lastPossibleMatch(Math.min(message.hintIndex, message.index - 1), message.hintTerm);
  toProbe(progress, agreed + 1);
}

export function onHeartbeat(core: Core, message: HeartbeatMessage, now: number): void {
  if (message.term >= core.term) {
    hearLeader(core, message.from, message.term, now);
    if (core.incoming?.installing !== true) advanceCommit(core, Math.min(message.commitIndex, core.log.lastIndex), now);
  }
  // The answer is of the present term, in which the other may lead again by now, with rounds of the same numbers: a heartbeat from an
  // earlier term that was long under way confirms none of them. 0 is no round.
  const round = message.term < core.term ? 0 : message.round;
  send(core, senderOf(message), { kind: 'heartbeat-answer', round });
}

export function onHeartbeatAnswer(core: Core, message: HeartbeatAnswer, now: number): void {
  const progress = core.peers.get(message.from);
  if (progress === undefined) return;
  contact(core, message.from, progress, now);
  noteAnswer(core, progress, message.round);
  answerRounds(core);
  // It lives: what it did not answer was lost.
  if (progress.mode === 'probe') progress.paused = false;
  else if (progress.mode === 'snapshot') resumeSnapshot(core, message.from, progress, now);
  else if (progress.inflight.length > 0 && now - progress.lastProgressMs >= 2 * core.config.heartbeatMs) {
    progress.nudge = true;
    progress.lastProgressMs = now;
  }
}

/** The disk did everything up to the write with this number. */
export function onPersisted(core: Core, sequence: number, now: number): void {
  let done = 0;
  for (const write of core.writes) {
    if (write.sequence > sequence) break;
    core.persistedIndex = Math.max(core.persistedIndex, write.index);
    done++;
  }
  core.writes.splice(0, done);
  core.log.evict(core.persistedIndex);
  if (core.role === 'leader') commitByCount(core, now);
}

/** Commits what a majority of the voters has on disk, if it is of the own term (paper, 5.4.2 and figure 8). */
export function commitByCount(core: Core, now: number): void {
  const matches: number[] = [];
  for (const { id, voter } of servers(core)) {
    if (voter) matches.push(id === core.config.id ? core.persistedIndex : (core.peers.get(id)?.match ?? 0));
  }
  const index = agreed(matches);
  if (index > core.commitIndex && core.log.termAt(index) === core.term) advanceCommit(core, index, now);
}

/** The highest index that a majority has reached. A handful of numbers, for every put: `sort` would take more memory than they do. */
function agreed(matches: number[]): number {
  for (let i = 1; i < matches.length; i++) {
    const match = matches[i] as number;
    let at = i;
    for (; at > 0 && (matches[at - 1] as number) < match; at--) matches[at] = matches[at - 1] as number;
    matches[at] = match;
  }
  return matches[Math.floor(matches.length / 2)] ?? 0;
}

function advanceCommit(core: Core, index: number, now: number): void {
  if (index <= core.commitIndex) return;
  core.commitIndex = index;
  let done = 0;
  for (const { index: proposed, bytes } of core.uncommitted) {
    if (proposed > index) break;
    core.uncommittedBytes -= bytes;
    done++;
  }
  if (done > 0) core.uncommitted.splice(0, done);
  core.effects.push({ kind: 'commit', index });
  configurationsCommitted(core);
  if (!leaderIsOut(core)) return;
  // The others learn of the commit, and the one that is furthest need not wait for its timeout.
  heartbeat(core, now);
  const successor = furthestVoter(core);
  if (successor !== undefined) send(core, successor, { kind: 'timeout-now' });
  becomeFollower(core, core.term, '', now);
}

function appendToLog(core: Core, entries: AppendMessage['entries'], now: number): void {
  core.log.append(entries);
  core.writes.push({ sequence: ++core.sequence, index: core.log.lastIndex });
  core.effects.push({ kind: 'append', entries, sequence: core.sequence });
  for (const entry of entries) if (entry.kind === 'configuration') configurationAppended(core, entry, now);
}

function truncate(core: Core, from: number): void {
  if (from <= core.commitIndex) throw new Error(`raft: entry ${from} is committed and was to be replaced`);
  core.log.truncateFrom(from);
  core.persistedIndex = Math.min(core.persistedIndex, from - 1);
  // The number of an older write must not vouch for what takes the place of its entries.
  for (const write of core.writes) write.index = Math.min(write.index, from - 1);
  core.writes.push({ sequence: ++core.sequence, index: from - 1 });
  core.effects.push({ kind: 'truncate', from, sequence: core.sequence });
  configurationsTruncated(core, from);
}
