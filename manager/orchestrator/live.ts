import { TemplateFault } from '../../base/template/index.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Node, Service, Task } from '../../proto/types/index.ts';
import { unmetConstraint } from '../model/constraints.ts';
import { CONSTRAINTS, compareTaskSpecs } from '../model/spec-change.ts';
import { isJob } from '../model/slots.ts';
import { expandOnNode } from '../model/templates.ts';
import { localVolumesOf } from '../model/volumes.ts';
import { newTask } from './new-task.ts';

/** Nodes that have a volume's data. */
export type VolumeHomes = (volume: string) => readonly NodeId[];

/** How a task that has an older spec gets to the present one. */
export type Way =
  | { readonly kind: 'live'; readonly change: Pick<Task, 'spec' | 'specVersion' | 'revision' | 'changing' | 'service'> }
  /** Another takes its place; the reason is empty where it does not run, and nothing could be changed. */
  | { readonly kind: 'replace'; readonly reason: string };

/**
 * Whether a task can be changed while it runs. What it has is compared with what a new one in its place would have, so that it
 * does not matter by which versions it came there.
 * @param node where it is; undefined: nowhere
 * @param homesOf nodes that have a volume's data; none: it is not known yet
 */
export function wayToSpec(task: Task, service: Service, node: Node | undefined, homesOf: VolumeHomes): Way {
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
  const elsewhere = task.boundNode === undefined ? volumeElsewhere(task, fresh, node, homesOf) : undefined;
  if (elsewhere !== undefined) return replace(`the data of volume "${elsewhere}" is on another node`);
  const changing = task.changing ?? { spec: task.spec, specVersion: task.specVersion };
  const { specVersion, revision } = service;
  const own = fresh.service === undefined ? {} : { service: fresh.service };
  return { kind: 'live', change: { spec, specVersion, revision, changing, ...own } };
}

/** A volume that the task shall have, and whose data this node does not have. */
function volumeElsewhere(before: Task, after: Task, node: Node, homesOf: VolumeHomes): string | undefined {
  const known = new Set(localVolumesOf(before));
  return localVolumesOf(after).find((name) => {
    const homes = homesOf(name);
    return !known.has(name) && homes.length > 0 && !homes.includes(node.id);
  });
}

/** What a new task would be in this one's place. */
function taskOnNode(task: Task, service: Service, node: Node): Task {
  const { id, slot, boundNode, desiredState } = task;
  const seed = { id, slot, now: 0, desiredState, ...(boundNode === undefined ? {} : { node: boundNode }) };
  return expandOnNode({ ...newTask(service, seed), nodeId: task.nodeId }, service, node);
}
