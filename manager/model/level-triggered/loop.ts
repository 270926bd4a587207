import { backoffMs, sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Store, TableName } from '../../store/types.ts';

const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 2000;

export interface LevelTriggeredOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Whether a change in that table can give the loop something to do. */
  readonly concerns: (table: TableName) => boolean;
  /** Wall time, ms, at which to look again although nothing changes; undefined: never. Asked when there is nothing to do. */
  readonly dueAt?: () => number | undefined;
  /** Looks at the store, changes it where needed; true: look again at once. */
  readonly turn: () => Promise<boolean>;
  /** How long to leave everything alone after a turn, ms: what changes meanwhile is looked at together. Absent: not at all. */
  readonly restMs?: () => number;
}

/**
 * The shape of every loop in the manager: look, change, look again until there is nothing to do, then sleep until the
 * store changes. Events only say "look again"; a missed one does no harm, because every look sees everything.
 */
export async function runLevelTriggered(options: LevelTriggeredOptions): Promise<void> {
  const { store, clock, logger, signal, concerns, turn } = options;
  while (!signal.aborted) {
    const { watch } = store.viewAndWatch(() => undefined);
    const stop = (): void => watch.close();
    signal.addEventListener('abort', stop, { once: true });
    let dirty = true;
    let wake: () => void = () => undefined;
    const watching = (async () => {
      for await (const { changes } of watch) {
        if (!changes.some(({ table }) => concerns(table))) continue;
        dirty = true;
        wake();
      }
    })().catch((error: unknown) => logger.debug('watch ended', { reason: messageOf(error) }));
    let open = true;
    void watching.then(() => {
      open = false;
      wake();
    });
    let failures = 0;
    while (open && !signal.aborted) {
      if (!dirty) {
        const due = options.dueAt?.();
        const timer =
          due === undefined
            ? undefined
            : clock.startTimer(Math.max(0, due - clock.now()), () => {
                dirty = true;
                wake();
              });
        await new Promise<void>((resolve) => (wake = resolve));
        timer?.cancel();
        continue;
      }
      dirty = false;
      try {
        if (await turn()) dirty = true;
        failures = 0;
        const restMs = options.restMs?.() ?? 0;
        if (restMs > 0) await sleep(clock, restMs, signal).catch(() => undefined);
      } catch (error) {
        if (!isTsswarmError(error, 'CONFLICT')) logger.warn('turn failed', { reason: messageOf(error) });
        dirty = true;
        await sleep(clock, backoffMs(failures++, FIRST_RETRY_MS, LONGEST_RETRY_MS), signal).catch(() => undefined);
      }
    }
    signal.removeEventListener('abort', stop);
    watch.close();
    await watching;
  }
}
