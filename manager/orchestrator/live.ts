import { TemplateFault } from '../../base/template/index.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Node, Service, Task } from '../../proto/types/index.ts';
import { unmetConstraint } from '../model/constraints.ts';
import { CONSTRAINTS, compareTaskSpecs } from '../model/spec-change.ts';
import { isJob } from '../model/slots.ts';
import { expandOnNode } from '../model/templates.ts';
import { hasToSay, holdersOf, isBindSource } from '../model/bind-sources.ts';
import { placesOf } from '../model/volumes.ts';
import { newTask } from './new-task.ts';

/** Where data is. */
export interface DataHomes {
  readonly nodes: readonly Node[];
  /** Nodes that have a volume's data; none: it is not known yet. */
  readonly homesOf: (volume: string) => readonly NodeId[];
}

/** How a task that has an older spec gets to the present one. */
export type Way =
  | { readonly kind: 'live'; readonly change: Pick<Task, 'spec' | 'specVersion' | 'revision' | 'changing' | 'service'> }
  /** Nodes have still to say whether they have a path that it shall have mounted. */
  | { readonly kind: 'wait' }
  /** Another takes its place; the reason is empty where it does not run, and nothing could be changed. */
  | { readonly kind: 'replace'; readonly reason: string };

/**
 * Whether a task can be changed while it runs. What it has is compared with what a new one in its place would have, so that it
 * does not matter by which versions it came there.
 * @param node where it is; undefined: nowhere
 */
export function wayToSpec(task: Task, service: Service, node: Node | undefined, data: DataHomes): Way {
  const replace = (reason: string): Way => ({ kind: 'replace', reason });
  if (task.status.state !== 'running' || task.desiredState !== 'running' || node === undefined) return replace('');
  if (isJob(service.spec)) return replace('a job that changes is run anew');
  if (task.specVersion < (service.recreateBelow ?? 0)) return replace('its service was to be made anew');
  if (task.refused?.specVersion === service.specVersion) return replace(task.refused.reason);
  let fresh: Task;
  try {
    fresh = taskOnNode(task, service, node);
  } catch (error) {
    if (error instanceof TemplateFault) return replace(error.message);
    throw error;
  }
  const { spec } = fresh;
  const { effects } = compareTaskSpecs(task.spec, spec, new Set(node.description.live));
  const fixed = effects.find(({ effect }) => effect === 'replace');
  if (fixed !== undefined) return replace(`${fixed.field}: ${fixed.reason}`);
  const unmet = effects.some(({ field }) => field === CONSTRAINTS)
    ? unmetConstraint(spec.constraints, node)
    : undefined;
  if (unmet !== undefined) return replace(`${CONSTRAINTS}: its node does not satisfy ${unmet}`);
  // What a global service's tasks have is each node's own.
  const missing = task.boundNode === undefined ? dataElsewhere(task, fresh, node, data) : undefined;
  if (missing === 'unknown') return { kind: 'wait' };
  if (missing !== undefined) return replace(missing.reason);
  const changing = task.changing ?? { spec: task.spec, specVersion: task.specVersion };
  const { specVersion, revision } = service;
  const own = fresh.service === undefined ? {} : { service: fresh.service };
  return { kind: 'live', change: { spec, specVersion, revision, changing, ...own } };
}

/** Whether the task shall have a volume or path that this node does not have, and another one has. */
function dataElsewhere(
  before: Task,
  after: Task,
  node: Node,
  { nodes, homesOf }: DataHomes,
): { readonly reason: string } | 'unknown' | undefined {
  const known = new Set(placesOf(before));
  const added = placesOf(after).filter((place) => !known.has(place));
  if (added.length === 0) return undefined;
  const named = nodes.filter((other) => unmetConstraint(after.spec.constraints, other) === undefined);
  for (const place of added) {
    const isPath = isBindSource(place);
    if (isPath && nodes.length > 1 && named.some((other) => hasToSay(other, place))) return 'unknown';
    const homes = isPath ? holdersOf(place, named) : homesOf(place);
    if (homes.length === 0 || homes.includes(node.id)) continue;
    return { reason: isPath ? `"${place}" is on another node` : `the data of volume "${place}" is on another node` };
  }
  return undefined;
}

/** What a new task would be in this one's place. */
function taskOnNode(task: Task, service: Service, node: Node): Task {
  const { id, slot, boundNode, desiredState } = task;
  const seed = { id, slot, now: 0, desiredState, ...(boundNode === undefined ? {} : { node: boundNode }) };
  return expandOnNode({ ...newTask(service, seed), nodeId: task.nodeId }, service, node);
}
