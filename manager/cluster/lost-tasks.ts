import type { NodeId } from '../../base/ids.ts';
import type { Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';
import { couldRunElsewhere } from './elsewhere.ts';
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
 * and those on lost nodes, unless no other node could take them: then it is better to wait for theirs.
 * @param now wall time, ms
 */
export function lostTasks(tx: ReadTransaction, { lost, isOver, matches }: LostNodes, now: number): readonly Task[] {
  const isWanted = ({ desiredState }: Task): boolean => desiredState === 'running' || desiredState === 'ready';
  return tx
    .list('task')
    .filter((task) => task.nodeId !== '' && task.status.state !== 'remove')
    .filter((task) =>
      tx.get('node', task.nodeId as NodeId) === undefined
        ? // Ended, it is kept as history until it is to go.
          (!isFinal(task) || task.desiredState === 'remove') && isOver(task.nodeId)
        : lost.has(task.nodeId) && !isFinal(task) && (!isWanted(task) || couldRunElsewhere(tx, task, lost, matches)),
    )
    .map((task) => {
      const gone = tx.get('node', task.nodeId as NodeId) === undefined;
      const status = {
        ...task.status,
        // Nobody will report that its container is gone.
        state: gone && task.desiredState === 'remove' ? ('remove' as const) : ('orphaned' as const),
        timestamp: now,
        message: gone ? 'its node was removed' : 'its node is down',
      };
      // Should the node come back, it ends what was replaced meanwhile.
      return {
        ...task,
        desiredState: task.desiredState === 'remove' ? ('remove' as const) : ('shutdown' as const),
        status,
      };
    });
}
