import type { Core } from './state.ts';
import { quorum } from './state.ts';

/**
 * Linearizable reads without a log entry (thesis, 6.4): the commit index at the time of the read is good as soon as a
 * quorum confirmed afterwards that nobody else leads. Leases would be faster, and wrong when a process is paused.
 */
export function read(core: Core, id: number): void {
  if (core.role === 'leader') core.reads.push(id);
  else core.effects.push({ kind: 'reads-lost', ids: [id] });
}

/**
 * Starts a round for the reads that wait: all of them share it, and one round is under way at a time. Says whether
 * heartbeats are due. A leader that committed nothing in its term yet does not know the commit index: its reads wait.
 */
export function startRound(core: Core): boolean {
  if (core.reads.length === 0 || core.rounds.length > 0 || core.commitIndex < core.termStart) return false;
  // The heartbeats that follow are the next round.
  core.rounds.push({ round: core.readRound + 1, index: core.commitIndex, ids: core.reads });
  core.reads = [];
  answerRounds(core);
  return core.rounds.length > 0;
}

/** Answers the rounds that a quorum has confirmed. */
export function answerRounds(core: Core): void {
  for (let first = core.rounds[0]; first !== undefined; first = core.rounds[0]) {
    const { round, ids, index } = first;
    const confirmed = (id: string): boolean =>
      id === core.config.id || (core.peers.get(id)?.answeredRound ?? 0) >= round;
    if (!quorum(core, confirmed)) return;
    core.rounds.shift();
    core.effects.push({ kind: 'read-ready', ids, index });
  }
}

/** Leadership is lost: nobody can confirm anything any more. */
export function dropReads(core: Core): void {
  const ids = [...core.rounds.flatMap((round) => round.ids), ...core.reads];
  core.rounds = [];
  core.reads = [];
  if (ids.length > 0) core.effects.push({ kind: 'reads-lost', ids });
}
