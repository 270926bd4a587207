import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import type { Store, WriteTransaction } from '../../store/types.ts';
import { runLevelTriggered } from '../level-triggered/loop.ts';
import type { Stage } from './stage.ts';

export interface StagesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In the order of the way of the data: each sees what the ones before it have decided. */
  readonly stages: readonly Stage[];
}

/** In large clusters, looks that take longer are made half of the time at most: a leader has heartbeats to send and reports to take, too. */
const QUICK_LOOK_MS = 20;
const LONGEST_REST_MS = 500;
/** A cluster with more tasks is large. Each stage has a transaction of its own there: all in one would hold up the heartbeats for too long. */
const MANY_TASKS = 5000;

/**
 * The leader at work until `signal` aborts. What all stages decide in one look is one transaction: a new task is created, gets
 * its address and its node with one write to the disk; not so in clusters that are too large for it.
 */
export function runStages({ store, clock, logger, stages }: StagesOptions, signal: AbortSignal): Promise<void> {
  // Who begins to lead has something to do, or the look that changes nothing costs no more than one that only asks.
  let busy = true;
  let tookMs = 0;
  let isLarge = false;
  const timed = <R>(look: () => R): R => {
    const began = clock.monotonic();
    try {
      return look();
    } finally {
      tookMs += clock.monotonic() - began;
    }
  };
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
      tookMs = 0;
      isLarge = store.view((tx) => tx.list('task').length > MANY_TASKS);
      // After a turn that found something the next one will too: it is not asked first.
      const isIdle = !busy && timed(() => store.view((tx) => stages.every((stage) => stage.decide(tx) === undefined)));
      busy = false;
      if (isIdle) return false;
      busy = false;
      for (const together of isLarge ? stages.map((stage) => [stage]) : [stages]) {
        const found = await store.update((tx) => timed(() => decideAll(together, tx)));
        busy ||= found;
      }
      return busy;
    },
    restMs: () => (isLarge && tookMs > QUICK_LOOK_MS ? Math.min(tookMs, LONGEST_REST_MS) : 0),
  });
}

/** Writes what the stages decide, each on top of what the ones before it have decided. @returns whether there was anything */
function decideAll(stages: readonly Stage[], tx: WriteTransaction): boolean {
  let found = false;
  for (const stage of stages) {
    const write = stage.decide(tx);
    if (write === undefined) continue;
    found = true;
    write(tx);
  }
  return found;
}
