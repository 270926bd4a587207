import type { Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';

/**
 * The tasks on nodes that are drained, as they are to be stored: they end with their grace, and the orchestrator makes others in
 * their place, which the scheduler puts elsewhere.
 * @param lost ids of nodes that cannot be told
 */
export function drainedTasks(tx: ReadTransaction, lost: ReadonlySet<string>): readonly Task[] {
  return tx
    .list('node')
    .filter(({ id, spec }) => spec.availability === 'drain' && !lost.has(id))
    .flatMap(({ id }) => tx.find('task', 'node', id))
    .filter((task) => !isFinal(task) && task.desiredState !== 'shutdown' && task.desiredState !== 'remove')
    .map((task) => ({
      ...task,
      desiredState: 'shutdown' as const,
      status: { ...task.status, message: 'its node is drained' },
    }));
}
