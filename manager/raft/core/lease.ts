import type { Progress } from './progress.ts';
import type { Core } from './state.ts';
import { quorum } from './state.ts';

/** By how much of the time that passes the clocks of two machines may run apart. */
const MAX_DRIFT = 0.1;

/** A round of heartbeats goes out. */
export function noteRound(core: Core, now: number): void {
  core.readRound++;
  core.roundsSent.push(now);
  const horizon = now - core.config.electionTimeoutMs;
  while ((core.roundsSent[0] ?? now) < horizon) core.roundsSent.shift();
}

/** A peer has answered a round of heartbeats: it heard of this leader when that was sent, or later. */
export function noteAnswer(core: Core, progress: Progress, round: number): void {
  progress.answeredRound = Math.max(progress.answeredRound, round);
  const sent = core.roundsSent[core.roundsSent.length - 1 - (core.readRound - round)];
  if (sent !== undefined) progress.heardMs = Math.max(progress.heardMs, sent);
}

/**
 * Whether nobody can have been elected after this leader (thesis, 6.4.1): a quorum heard of it so lately that it refuses its vote to
 * everybody. Counted from when the heartbeats were sent, so that answers which lay unread while this process was held up prove
 * nothing. After a handing over was begun it is never sure in this term: the other may stand for election whenever it hears of that.
 * Who hears only now of the votes that it won in an earlier term takes itself for the leader, too; nobody follows it, and it has no lease.
 */
export function holdsLease(core: Core, now: number): boolean {
  if (core.role !== 'leader' || core.hasHandedOver) return false;
  const length = core.config.electionTimeoutMs * (1 - MAX_DRIFT);
  return quorum(core, (id) => id === core.config.id || now - (core.peers.get(id)?.heardMs ?? -Infinity) < length);
}
