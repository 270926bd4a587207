import { TemplateFault } from '../../base/template/index.ts';
import type { Node, Service, Task, TaskSpec } from '../../proto/types/index.ts';
import { compareTaskSpecs } from '../model/spec-change.ts';
import { isJob } from '../model/slots.ts';
import { expandOnNode } from '../model/templates.ts';
import { newTask } from './new-task.ts';

/** How a task that has an older spec gets to the present one. */
export type Way =
  | { readonly kind: 'live'; readonly change: Pick<Task, 'spec' | 'specVersion' | 'revision' | 'changing'> }
  /** Another takes its place; the reason is empty where it does not run, and nothing could be changed. */
  | { readonly kind: 'replace'; readonly reason: string };

/**
 * Whether a task can be changed while it runs. What it has is compared with what a new one in its place would have, so that it
 * does not matter by which versions it came there.
 * @param node where it is; undefined: nowhere
 */
export function wayToSpec(task: Task, service: Service, node: Node | undefined): Way {
  const replace = (reason: string): Way => ({ kind: 'replace', reason });
  if (task.status.state !== 'running' || task.desiredState !== 'running' || node === undefined) return replace('');
  if (isJob(service.spec)) return replace('a job that changes is run anew');
  if (task.specVersion < (service.recreateBelow ?? 0)) return replace('its service was to be made anew');
  if (task.refused?.specVersion === service.specVersion) return replace(task.refused.reason);
  let spec: TaskSpec;
  try {
    spec = specOnNode(task, service, node);
  } catch (error) {
    if (error instanceof TemplateFault) return replace(error.message);
    throw error;
  }
  const { effects } = compareTaskSpecs(task.spec, spec, new Set(node.description.live));
  const fixed = effects.find(({ effect }) => effect === 'replace');
  if (fixed !== undefined) return replace(`${fixed.field}: ${fixed.reason}`);
  const changing = task.changing ?? { spec: task.spec, specVersion: task.specVersion };
  return { kind: 'live', change: { spec, specVersion: service.specVersion, revision: service.revision, changing } };
}

/** The spec that a new task would have in this one's place. */
function specOnNode(task: Task, service: Service, node: Node): TaskSpec {
  const { id, slot, boundNode, desiredState } = task;
  const seed = { id, slot, now: 0, desiredState, ...(boundNode === undefined ? {} : { node: boundNode }) };
  return expandOnNode({ ...newTask(service, seed), nodeId: task.nodeId }, service, node).spec;
}
