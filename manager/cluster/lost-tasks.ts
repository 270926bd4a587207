import type { NodeId } from '../../base/ids.ts';
import type { Task } from '../../proto/types/index.ts';
import { NODE_DOWN, isFinal } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';
import { elsewhere } from './elsewhere.ts';
import type { ConstraintMatch } from './elsewhere.ts';

export interface LostNodes {
  /** Ids of nodes that have been down for long enough. */
  readonly lost: ReadonlySet<string>;
  /** Whether nothing runs any more on a node that is not in the store. */
  readonly isOver: (nodeId: string) => boolean;
  readonly matches: ConstraintMatch;
}

/**
 * The tasks that nobody can speak for any more, as they are to be stored: those on nodes that are no longer in the store,
 * and those on lost nodes. Where no other node could take one it is better to wait for its own: that is noted only.
 * @param now wall time, ms
 */
export function lostTasks(tx: ReadTransaction, { lost, isOver, matches }: LostNodes, now: number): readonly Task[] {
  const couldRunElsewhere = elsewhere(tx, lost, matches);
  const waits = (task: Task): boolean =>
    (task.desiredState === 'running' || task.desiredState === 'ready') &&
    tx.get('node', task.nodeId as NodeId) !== undefined &&
    !couldRunElsewhere(task);
  return tx
    .list('task')
    .filter((task) => task.nodeId !== '' && task.status.state !== 'remove')
    .filter((task) =>
      tx.get('node', task.nodeId as NodeId) === undefined
        ? // Ended, it is kept as history until it is to go; an orphaned one goes as it is.
          (!isFinal(task) || (task.desiredState === 'remove' && task.status.state !== 'orphaned')) &&
          isOver(task.nodeId)
        : lost.has(task.nodeId) && !isFinal(task) && !(waits(task) && task.status.message === NODE_DOWN),
    )
    .map((task) => {
      // Kept for its node: what that finds of it when it is back decides.
      if (waits(task)) return { ...task, status: { ...task.status, message: NODE_DOWN } };
      const gone = tx.get('node', task.nodeId as NodeId) === undefined;
      const status = {
        ...task.status,
        // Nobody will report that its container is gone.
        state: gone && task.desiredState === 'remove' ? ('remove' as const) : ('orphaned' as const),
        timestamp: now,
        message: gone ? 'its node was removed' : NODE_DOWN,
      };
      // Should the node come back, it ends what was replaced meanwhile.
      return {
        ...task,
        desiredState: task.desiredState === 'remove' ? ('remove' as const) : ('shutdown' as const),
        status,
      };
    });
}
