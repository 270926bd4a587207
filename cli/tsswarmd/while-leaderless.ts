import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { saysNobodyLeads } from './leadership.ts';

/** An election takes a second; on machines that are busy, or when several managers join at once, some. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 200;
/** What is said while the lead changes hands. */
const PASSING: readonly ErrorCode[] = ['NOT_LEADER', 'OUTCOME_UNKNOWN', 'CONFLICT'];

/** Whether a manager that answers may say something else soon. Where nobody can be reached, waiting is of no use. */
const passes = (error: unknown): boolean =>
  saysNobodyLeads(error) || PASSING.some((code) => isTsswarmError(error, code));

/**
 * Does what may be done twice, again as long as the managers elect a leader.
 * @param mayPass whether an error may be another one soon; default: of a manager that answers
 * @throws the last error, when it is about something else or nobody leads for 15 s
 */
export async function whileLeaderless<T>(
  clock: Clock,
  work: () => Promise<T>,
  signal?: AbortSignal,
  mayPass = passes,
): Promise<T> {
  const deadline = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!mayPass(error) || clock.monotonic() >= deadline) throw error;
    }
    await sleep(clock, PAUSE_MS, signal);
  }
}
