import type { NodeId } from '../../base/ids.ts';
import type { Node, Service, Task } from '../../proto/types/index.ts';
import { isGlobal } from '../model/slots.ts';

/** Whether a node satisfies a placement constraint. */
export type ConstraintMatch = (constraint: string, node: Node) => boolean;

/** A slot that a service shall have. */
export interface SlotTarget {
  readonly slot: number;
  /** The one node that its tasks may run on; absent: any. */
  readonly node?: NodeId;
  /** New tasks can be made in it now. */
  readonly open: boolean;
  /** Its node is lost: nothing goes on in it before that is back. */
  readonly lost: boolean;
}

/**
 * The slots of a service. Those of a global one are nodes: all that satisfy its constraints and are not drained. A node keeps its
 * slot's number as long as tasks of it are remembered; a node that is lost or paused keeps what it has and gets nothing new.
 */
export function slotTargets(
  service: Service,
  tasks: readonly Task[],
  nodes: readonly Node[],
  matches: ConstraintMatch,
): readonly SlotTarget[] {
  if (!isGlobal(service)) return numbered(service.spec.replicas);
  const { constraints } = service.spec.task;
  const wanted = nodes.filter(
    (node) => node.spec.availability !== 'drain' && constraints.every((constraint) => matches(constraint, node)),
  );
  const numbers = new Map<NodeId, number>();
  const used = new Set<number>();
  for (const task of tasks) {
    if (task.oneOff) continue;
    used.add(task.slot);
    if (task.boundNode !== undefined) numbers.set(task.boundNode, task.slot);
  }
  const free = (): number => {
    let number = 1;
    while (used.has(number)) number++;
    used.add(number);
    return number;
  };
  return wanted.map((node) => ({
    slot: numbers.get(node.id) ?? free(),
    node: node.id,
    open: node.status.state === 'ready' && node.spec.availability === 'active',
    lost: node.status.state !== 'ready',
  }));
}

/** The slots of a replicated service, whatever their number made once: with thousands it would be most of a look. */
const ofCounts = new Map<number, readonly SlotTarget[]>();
const MOST_COUNTS = 100;

function numbered(count: number): readonly SlotTarget[] {
  let targets = ofCounts.get(count);
  if (targets === undefined) {
    if (ofCounts.size === MOST_COUNTS) ofCounts.clear();
    targets = Array.from({ length: count }, (_, index) => ({ slot: index + 1, open: true, lost: false }));
    ofCounts.set(count, targets);
  }
  return targets;
}

/** Whether a service shall have a slot of that number. */
export function wantedSlots(service: Service, targets: readonly SlotTarget[]): (slot: number) => boolean {
  if (!isGlobal(service)) return (slot) => slot >= 1 && slot <= service.spec.replicas;
  const wanted = new Set(targets.map(({ slot }) => slot));
  return (slot) => wanted.has(slot);
}
