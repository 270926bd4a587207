import { TsswarmError } from '../../../base/errors.ts';
import type { Service, Task } from '../../../proto/types/index.ts';
import { isGlobal } from '../../../manager/model/slots.ts';

/**
 * The service that a user means: by its id, its name, or the beginning of an id. The messages are Docker's.
 * @throws NOT_FOUND, CONFLICT when several are meant
 */
export function pickService(services: readonly Service[], name: string): Service {
  const exact = services.find(({ id }) => id === name) ?? services.find(({ spec }) => spec.name === name);
  if (exact !== undefined) return exact;
  const found = name === '' ? [] : services.filter(({ id }) => id.startsWith(name));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  if (only === undefined)
    throw new TsswarmError('NOT_FOUND', `no such service: ${name}`, { hint: 'see tsswarm service ls' });
  throw new TsswarmError('CONFLICT', `service ${name} is ambiguous (${found.length} matches found)`, {
    hint: `name one of ${found.map(({ id }) => id).join(', ')}`,
  });
}

/** What Docker calls a task: "web.1", of a global service "web.<node id>". */
export function taskName(task: Task, service: Service | undefined): string {
  if (service === undefined || task.oneOff) return task.name;
  return `${service.spec.name}.${isGlobal(service) ? (task.boundNode ?? task.nodeId) : task.slot}`;
}
