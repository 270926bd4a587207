import type { Service, ServiceSpec, Task, TaskSpec } from '../../proto/types/index.ts';
import { isGlobal, isJob } from './slots.ts';
import { isLive } from './task-state.ts';

const PREFIX = 'service:';

/** Compose name of the service whose network a task shares ("network_mode: service:db"); undefined: it shares none. */
export const networkServiceOf = ({ networkMode }: Pick<TaskSpec, 'networkMode'>): string | undefined =>
  networkMode.startsWith(PREFIX) ? networkMode.slice(PREFIX.length) : undefined;

/**
 * The task whose network another one can share now: the newest that runs in the same slot, of a global service on the same node.
 * @param place undefined: any that runs, for a container of no slot
 */
export function networkTaskAt(
  tasks: readonly Task[],
  place: { readonly slot: number; readonly node?: string } | undefined,
): Task | undefined {
  return tasks.findLast(
    (task) =>
      holdsNetwork(task) &&
      !task.oneOff &&
      (place === undefined || (place.node === undefined ? task.slot === place.slot : task.nodeId === place.node)),
  );
}

/** Whether there is a network to share: the task's container runs and shall run. */
export const holdsNetwork = (task: Task): boolean =>
  task.desiredState === 'running' && isLive(task) && task.status.state === 'running';

/** A task as it shares the network of another: on that one's node. */
export function sharing(task: Task, other: Task): Pick<Task, 'networkTask' | 'spec'> {
  const { constraints } = task.spec;
  const onNode = `node.id==${other.nodeId}`;
  return { networkTask: other.id, spec: { ...task.spec, constraints: [...constraints, onNode] } };
}

/**
 * Why a service cannot share the network that it names, as the end of a sentence; undefined: it can, or shares none.
 * @param services of the same project
 */
export function sharedNetworkFault(
  service: ServiceSpec,
  services: ReadonlyMap<string, ServiceSpec>,
): string | undefined {
  const name = networkServiceOf(service.task);
  if (name === undefined) return undefined;
  const words = `network_mode "${service.task.networkMode}"`;
  const other = services.get(name);
  if (other === undefined) return `${words}: the project has no service "${name}"`;
  if (other.composeName === service.composeName) return `${words}: that is the service itself`;
  if (other.task.networkMode !== 'networks')
    return `${words}: "${name}" has no network of its own, but network_mode "${other.task.networkMode}"`;
  if (service.ports.length > 0) return `${words}: ports are published by "${name}", whose network it is`;
  if (service.task.networks.length > 0) return `${words}: it cannot be on networks besides`;
  if (isJob(service) || isJob(other)) return `${words}: the network of a job, or for a job, is not shared`;
  const [mine, its] = [service, other].map((spec) => isGlobal({ spec } as Service));
  if (mine !== its) return `${words}: of the two, only one is global; each container shares that of its own slot`;
  if (mine !== true && service.replicas > other.replicas)
    return `${words}: it has ${service.replicas} replicas and "${name}" ${other.replicas}; each shares the network of its own slot`;
  return undefined;
}
