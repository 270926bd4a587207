import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { BackEnd } from './back-ends/back-end.ts';

const LOOK_EVERY_MS = 500;
/** Much longer than an election takes. */
const UNHEARD_MS = 5_000;
/** Longer than a new member may take to catch up; whoever is asked may be cut off and never answer. */
const PATIENCE_MS = 60_000;

export interface KeepPlaceOptions {
  readonly backEnd: Pick<BackEnd, 'leadership' | 'standing'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Asks to be let in under the present address; nothing happens when the cluster knows all of it.
   * @param heard a leader is known here
   */
  readonly join: (heard: boolean, signal: AbortSignal) => Promise<unknown>;
}

/**
 * Keeps a manager one of the group, until `signal` aborts: makes a new address known, and asks to be let in again when no
 * leader is heard. A manager that was away may have been taken out meanwhile, and nobody would ever tell it.
 */
export async function keepPlace(options: KeepPlaceOptions, signal: AbortSignal): Promise<void> {
  const { backEnd, clock, logger, join } = options;
  let heardAt = clock.monotonic();
  while (!signal.aborted) {
    const heard = backEnd.leadership.status().leaderId !== '';
    const now = clock.monotonic();
    const due = heard ? backEnd.standing() !== 'member' : now - heardAt >= UNHEARD_MS;
    if (heard || due) heardAt = now;
    if (due) {
      const patience = new AbortController();
      const late = (): void =>
        patience.abort(new TsswarmError('DEADLINE_EXCEEDED', `no answer within ${PATIENCE_MS} ms`));
      const timer = clock.startTimer(PATIENCE_MS, late);
      try {
        await join(heard, AbortSignal.any([signal, patience.signal]));
      } catch (error) {
        if (signal.aborted) return;
        const reason = messageOf(error);
        // It is none any more; its certificate will tell it.
        if (isTsswarmError(error, 'PERMISSION_DENIED')) logger.debug('not let in', { reason });
        else logger.warn('not let in, trying again', { reason });
      } finally {
        timer.cancel();
      }
    }
    await sleep(clock, LOOK_EVERY_MS, signal).catch(() => undefined);
  }
}
