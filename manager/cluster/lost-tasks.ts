import type { Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';

/**
 * The tasks that nobody can speak for any more, as they are to be stored: those on nodes that are no longer in the store,
 * and those on lost nodes, unless no other node is ready: then it is better to wait for theirs.
 * @param lost ids of nodes that have been down for long enough
 * @param now wall time, ms
 */
export function lostTasks(tx: ReadTransaction, lost: ReadonlySet<string>, now: number): readonly Task[] {
  const nodes = new Map(tx.list('node').map((node) => [node.id as string, node]));
  const elsewhere = [...nodes.values()].some(
    ({ id, status, spec }) => !lost.has(id) && status.state === 'ready' && spec.availability === 'active',
  );
  return tx
    .list('task')
    .filter((task) => task.nodeId !== '' && task.status.state !== 'remove')
    .filter((task) =>
      nodes.has(task.nodeId)
        ? lost.has(task.nodeId) && elsewhere && !isFinal(task)
        : // Ended, it is kept as history until it is to go.
          !isFinal(task) || task.desiredState === 'remove',
    )
    .map((task) => {
      const gone = !nodes.has(task.nodeId);
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
