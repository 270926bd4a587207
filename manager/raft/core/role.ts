import type { ServerId } from '../types.ts';
import { noteSilence, patienceMs } from './patience.ts';
import { dropReads } from './read-index.ts';
import type { Core } from './state.ts';
import { announce, saveHardState } from './state.ts';

/** Draws the moment of the next election: between one and two of its patience from now, so that servers rarely tie. */
export function resetElectionDeadline(core: Core, now: number): void {
  core.electionDeadlineMs = now + patienceMs(core, now) * (1 + core.random.next());
}

/** Follows `leaderId` ("" is nobody yet) in `term`, which is at least the present one. */
export function becomeFollower(core: Core, term: number, leaderId: ServerId, now: number): void {
  const newTerm = term > core.term;
  const changed = newTerm || core.role !== 'follower' || core.leaderId !== leaderId;
  const led = core.role === 'leader';
  if (newTerm) {
    core.term = term;
    core.votedFor = '';
    saveHardState(core);
  }
  core.role = 'follower';
  core.leaderId = leaderId;
  if (led) {
    resetElectionDeadline(core, now);
    dropReads(core);
    endTransfer(core, newTerm);
    core.peers.clear();
    core.uncommitted = [];
    core.uncommittedBytes = 0;
    core.termStart = Infinity;
  }
  if (changed) announce(core);
}

/** A message of the present leader came in. */
export function hearLeader(core: Core, leaderId: ServerId, term: number, now: number): void {
  if (core.role === 'leader' && term === core.term) throw new Error(`raft: two leaders in term ${term}`);
  becomeFollower(core, term, leaderId, now);
  if (term === core.leaderContactTerm) noteSilence(core, now - core.lastLeaderContactMs, now);
  core.leaderContactTerm = term;
  core.lastLeaderContactMs = now;
  resetElectionDeadline(core, now);
}

/** What a handing over came to; nothing when none was under way. */
export function endTransfer(core: Core, ok: boolean): void {
  if (core.transfer === undefined) return;
  core.transfer = undefined;
  core.effects.push({ kind: 'transfer-ended', ok });
}
