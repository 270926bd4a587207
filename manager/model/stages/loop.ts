import { backoffMs, sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Store } from '../../store/types.ts';
import type { Stage } from './stage.ts';

const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 2000;

export interface StagesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In the order of the way of the data: each sees what the ones before it have decided. */
  readonly stages: readonly Stage[];
}

/**
 * The leader at work, level-triggered: look, decide, look again until there is nothing to do, then sleep until the store
 * changes. Events only say "look again"; a missed one does no harm, because every look sees everything. What all stages decide
 * in one look is one transaction: a new task is created, gets its address and its node with one write to the disk.
 */
export async function runStages({ store, clock, logger, stages }: StagesOptions, signal: AbortSignal): Promise<void> {
  const turn = async (): Promise<boolean> => {
    const isIdle = store.view((tx) => stages.every((stage) => stage.decide(tx) === undefined));
    if (isIdle) return false;
    await store.update((tx) => {
      for (const stage of stages) stage.decide(tx)?.(tx);
    });
    return true;
  };
  while (!signal.aborted) {
    const { watch } = store.viewAndWatch(() => undefined);
    const stop = (): void => watch.close();
    signal.addEventListener('abort', stop, { once: true });
    let dirty = true;
    let wake: () => void = () => undefined;
    const watching = (async () => {
      for await (const { changes } of watch) {
        if (!changes.some(({ table }) => stages.some(({ concerns }) => concerns(table)))) continue;
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
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      dirty = false;
      try {
        if (await turn()) dirty = true;
        failures = 0;
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
