import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import type { Store } from '../../store/types.ts';
import { runLevelTriggered } from '../level-triggered/loop.ts';
import type { Stage } from './stage.ts';

export interface StagesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In the order of the way of the data: each sees what the ones before it have decided. */
  readonly stages: readonly Stage[];
}

/**
 * The leader at work until `signal` aborts. What all stages decide in one look is one transaction: a new task is created, gets
 * its address and its node with one write to the disk.
 */
export function runStages({ store, clock, logger, stages }: StagesOptions, signal: AbortSignal): Promise<void> {
  let busy = false;
  return runLevelTriggered({
    store,
    clock,
    logger,
    signal,
    concerns: (table) => stages.some(({ concerns }) => concerns(table)),
    dueAt: () =>
      store.view((tx) => {
        const times = stages.flatMap(({ dueAt }) => dueAt?.(tx) ?? []);
        return times.length === 0 ? undefined : Math.min(...times);
      }),
    turn: async () => {
      // After a turn that found something the next one will too: it is not asked first.
      const isIdle = !busy && store.view((tx) => stages.every((stage) => stage.decide(tx) === undefined));
      busy = false;
      if (isIdle) return false;
      busy = await store.update((tx) => {
        let found = false;
        for (const stage of stages) {
          const write = stage.decide(tx);
          if (write === undefined) continue;
          found = true;
          write(tx);
        }
        return found;
      });
      return busy;
    },
  });
}
