import type { Clock } from '../../base/clock.ts';
import type { Stage } from '../model/stages/stage.ts';
import { schedule } from './schedule.ts';

/** Gives every pending task a node. */
export function schedulerStage(clock: Pick<Clock, 'now'>): Stage {
  return {
    name: 'scheduler',
    concerns: (table) => table === 'task' || table === 'node',
    decide(view) {
      const placed = schedule(view.list('node'), view.list('task'), clock.now());
      if (placed.length === 0) return undefined;
      return (tx) => {
        for (const task of placed) tx.update('task', task);
      };
    },
  };
}
