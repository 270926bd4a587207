import { TemplateFault } from './fault.ts';
import { expandText, hasTemplate } from './task.ts';
import type { TaskContext } from './task.ts';

/** What may be a container's name (Docker, names.RestrictedNamePattern). */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

type NamedService = TaskContext['service'];

/**
 * A service's own name for its containers in a slot: it may be a template of the service and the slot; node and task are not known
 * when a name is needed.
 * @throws TemplateFault
 */
export const expandContainerName = (text: string, service: NamedService, slot: number): string =>
  expandText(text, { service, task: { slot: String(slot) } });

/**
 * What hinders a name from being that of so many containers, in a few words without a subject; undefined: nothing.
 * @param replicas more than one needs a template with the slot
 */
export function containerNameFault(text: string, service: NamedService, replicas: number): string | undefined {
  try {
    const [first, second] = [expandContainerName(text, service, 1), expandContainerName(text, service, 2)];
    if (hasTemplate(text) && !NAME.test(first)) return `makes "${first}", which is not a name for a container`;
    return replicas > 1 && first === second ? `allows one replica, not ${replicas}` : undefined;
  } catch (error) {
    if (error instanceof TemplateFault) return `is a template that cannot be expanded: ${error.message}`;
    throw error;
  }
}
