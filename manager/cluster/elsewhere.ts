import type { Node, Task } from '../../proto/types/index.ts';
import { holdersOf, isBindSource } from '../model/bind-sources.ts';
import { placesOf } from '../model/volumes.ts';
import type { ReadTransaction } from '../store/types.ts';

/** Whether a node satisfies a placement constraint. */
export type ConstraintMatch = (constraint: string, node: Node) => boolean;

/**
 * Tells whether another node could take a task of a lost one now. Those of a global service, those whose volume or path lies on their node and
 * those whose constraints fit no other one are waited for: given up, they would only be killed when their node comes back. What many
 * tasks have in common is looked up once: a thousand nodes can be lost together.
 * @param lost ids of nodes that take none
 */
export function elsewhere(
  tx: ReadTransaction,
  lost: ReadonlySet<string>,
  matches: ConstraintMatch,
): (task: Task) => boolean {
  const open = tx
    .list('node')
    .filter(({ id, status, spec }) => !lost.has(id) && status.state === 'ready' && spec.availability === 'active');
  const known = new Map<string, boolean>();
  return (task) => {
    if (task.boundNode !== undefined) return false;
    // Where it was put because of another one it needs to be only as long as that one is there.
    const constraints =
      task.networkTask === undefined
        ? task.spec.constraints
        : task.spec.constraints.filter((constraint) => constraint !== `node.id==${task.nodeId}`);
    const places = placesOf(task);
    const key = JSON.stringify([constraints, places]);
    let isPossible = known.get(key);
    if (isPossible === undefined) {
      const named = !places.some(isBindSource)
        ? []
        : tx.list('node').filter((node) => constraints.every((constraint) => matches(constraint, node)));
      const holders = places.map((place) =>
        isBindSource(place)
          ? holdersOf(place, named)
          : (tx.find('volume', 'name', place)[0]?.nodeIds?.filter((id) => tx.get('node', id) !== undefined) ?? []),
      );
      isPossible = open.some(
        (node) =>
          constraints.every((constraint) => matches(constraint, node)) &&
          holders.every((ids) => ids.length === 0 || ids.includes(node.id)),
      );
      known.set(key, isPossible);
    }
    return isPossible;
  };
}
