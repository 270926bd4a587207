import type { ServiceId } from '../../base/ids.ts';
import type {
  Network,
  Project,
  ProjectRequest,
  Service,
  Task,
  Volume,
  WatchProjectEvent,
} from '../../proto/types/index.ts';
import type { ReadTransaction, StoreChange, StoreCommit } from '../store/types.ts';

/** The project's objects as the first message of a watch; all projects' for an empty name. */
export function completeEvent(tx: ReadTransaction, request: ProjectRequest): WatchProjectEvent {
  const { services, tasks, networks, volumes } = objectsOf(tx, request);
  return { ...NO_CHANGE, complete: true, version: tx.version, services, tasks, networks, volumes };
}

/** A message that tells nothing. */
export const NO_CHANGE: WatchProjectEvent = {
  complete: false,
  version: 0,
  services: [],
  tasks: [],
  networks: [],
  volumes: [],
  removedServices: [],
  removedTasks: [],
  removedNetworks: [],
  removedVolumes: [],
};

/** What belongs to a project, or to all with an empty name, or to one service. Specs that hold secrets are not among it. */
export function objectsOf(
  tx: ReadTransaction,
  { project: projectName, serviceId }: ProjectRequest,
): {
  readonly projects: readonly Project[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
} {
  if (serviceId !== undefined) {
    const service = tx.get('service', serviceId as ServiceId);
    return {
      projects: [],
      services: service === undefined ? [] : [service],
      tasks: tx.find('task', 'service', serviceId),
      networks: [],
      volumes: [],
    };
  }
  const projects = projectName === '' ? tx.list('project') : tx.find('project', 'name', projectName);
  const ids = new Set<string>(projects.map(({ id }) => id));
  const mine = <T extends { readonly projectId: string }>(objects: readonly T[]): T[] =>
    projectName === '' ? [...objects] : objects.filter(({ projectId }) => ids.has(projectId));
  return {
    projects,
    services: mine(tx.list('service')),
    tasks: mine(tx.list('task')),
    networks: mine(tx.list('network')),
    volumes: mine(tx.list('volume')),
  };
}

/** A change of a kind that watchers of projects are told. */
export type ShownChange = Extract<StoreChange, { readonly table: 'service' | 'task' | 'network' | 'volume' }>;

/** Whether a change is about a service or a task of it. */
export const isOfService = (change: ShownChange, serviceId: string): boolean =>
  (change.table === 'service' && change.id === serviceId) ||
  (change.table === 'task' && (change.after ?? change.before)?.serviceId === serviceId);

/** What a commit means for the watchers of a project; undefined when nothing. */
export function eventOf(commit: StoreCommit, isMine: (change: ShownChange) => boolean): WatchProjectEvent | undefined {
  const event = {
    complete: false,
    version: commit.version,
    services: [] as Service[],
    tasks: [] as Task[],
    networks: [] as Network[],
    volumes: [] as Volume[],
    removedServices: [] as string[],
    removedTasks: [] as string[],
    removedNetworks: [] as string[],
    removedVolumes: [] as string[],
  };
  let found = false;
  for (const change of commit.changes) {
    const { table } = change;
    if (table !== 'service' && table !== 'task' && table !== 'network' && table !== 'volume') continue;
    if (!isMine(change)) continue;
    found = true;
    if (table === 'service') put(change, event.services, event.removedServices);
    else if (table === 'task') put(change, event.tasks, event.removedTasks);
    else if (table === 'network') put(change, event.networks, event.removedNetworks);
    else put(change, event.volumes, event.removedVolumes);
  }
  return found ? event : undefined;
}

function put<T>(change: { readonly id: string; readonly after: T | undefined }, changed: T[], removed: string[]): void {
  if (change.after === undefined) removed.push(change.id);
  else changed.push(change.after);
}
