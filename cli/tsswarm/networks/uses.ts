import { TsswarmError } from '../../../base/errors.ts';
import { isOnNetwork } from '../../../manager/model/task-addresses.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import type { Network, Service, Task } from '../../../proto/types/index.ts';

/** Who is on networks: all services and tasks of the cluster. */
export interface NetworkUsers {
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
}

/** Whether a service or a running container needs a network: what the managers look at when it shall be removed. */
export function isUsed({ services, tasks }: NetworkUsers, { id, spec: { name } }: Network): boolean {
  const isNamed = (attachments: readonly { readonly network: string }[]): boolean =>
    attachments.some(({ network }) => network === name);
  return (
    services.some((service) => !service.pendingDelete && isNamed(service.spec.task.networks)) ||
    tasks.some((task) => !isFinal(task) && (isNamed(task.spec.networks) || isOnNetwork(task, id)))
  );
}

/**
 * The network that a user means: by its id, its name, or the beginning of an id; in Docker's words.
 * @throws NOT_FOUND, CONFLICT when several are meant
 */
export function pickNetwork(networks: readonly Network[], name: string): Network {
  const exact = networks.find(({ id }) => id === name) ?? networks.find(({ spec }) => spec.name === name);
  const found = exact !== undefined ? [exact] : name === '' ? [] : networks.filter(({ id }) => id.startsWith(name));
  const [only] = found;
  if (only === undefined)
    throw new TsswarmError('NOT_FOUND', `network ${name} not found`, { hint: 'see tsswarm network ls' });
  if (found.length === 1) return only;
  throw new TsswarmError('CONFLICT', `network ${name} is ambiguous (${found.length} matches found)`);
}
