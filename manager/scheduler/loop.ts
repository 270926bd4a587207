import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Task } from '../../proto/types/index.ts';
import { runLevelTriggered } from '../model/level-triggered/loop.ts';
import type { ReadTransaction, Store } from '../store/types.ts';
import { schedule } from './schedule.ts';

export interface SchedulerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Gives every pending task a node, until `signal` aborts. */
export function runScheduler({ store, clock, logger }: SchedulerOptions, signal: AbortSignal): Promise<void> {
  const decide = (tx: ReadTransaction): readonly Task[] => schedule(tx.list('node'), tx.list('task'), clock.now());
  return runLevelTriggered({
    store,
    clock,
    logger: logger.child({ component: 'scheduler' }),
    signal,
    concerns: (table) => table === 'task' || table === 'node',
    turn: async () => {
      if (store.view(decide).length === 0) return false;
      await store.update((tx) => {
        for (const task of decide(tx)) tx.update('task', task);
      });
      return true;
    },
  });
}
