import type { Node, Task } from '../../proto/types/index.ts';
import { localVolumesOf } from '../model/volumes.ts';
import type { ReadTransaction } from '../store/types.ts';

/** Whether a node satisfies a placement constraint. */
export type ConstraintMatch = (constraint: string, node: Node) => boolean;

/**
 * Whether a node but its own could take a task now. Those of a global service, those whose volume lies on their node and those whose
 * constraints fit no other one are waited for: given up, they would only be killed when their node comes back.
 * @param lost ids of nodes that are none
 */
export function couldRunElsewhere(
  tx: ReadTransaction,
  task: Task,
  lost: ReadonlySet<string>,
  matches: ConstraintMatch,
): boolean {
  if (task.boundNode !== undefined) return false;
  // Where it was put because of another one it needs to be only as long as that one is there.
  const constraints =
    task.networkTask === undefined
      ? task.spec.constraints
      : task.spec.constraints.filter((constraint) => constraint !== `node.id==${task.nodeId}`);
  const holders = localVolumesOf(task).map(
    (name) => tx.find('volume', 'name', name)[0]?.nodeIds?.filter((id) => tx.get('node', id) !== undefined) ?? [],
  );
  return tx
    .list('node')
    .some(
      (node) =>
        node.id !== task.nodeId &&
        !lost.has(node.id) &&
        node.status.state === 'ready' &&
        node.spec.availability === 'active' &&
        constraints.every((constraint) => matches(constraint, node)) &&
        holders.every((ids) => ids.length === 0 || ids.includes(node.id)),
    );
}
