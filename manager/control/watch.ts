import type { Network, Project, Service, Task, Volume, WatchProjectEvent } from '../../proto/types/index.ts';
import type { ReadTransaction, StoreCommit } from '../store/types.ts';

/** The project's objects as the first message of a watch; all projects' for an empty name. */
export function completeEvent(tx: ReadTransaction, projectName: string): WatchProjectEvent {
  const { services, tasks, networks, volumes } = objectsOf(tx, projectName);
  return {
    complete: true,
    version: tx.version,
    services,
    tasks,
    networks,
    volumes,
    removedServices: [],
    removedTasks: [],
    removedNetworks: [],
    removedVolumes: [],
  };
}

/** What belongs to a project, or to all with an empty name. Specs that hold secrets are not among it. */
export function objectsOf(
  tx: ReadTransaction,
  projectName: string,
): {
  readonly projects: readonly Project[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
} {
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

/** What a commit means for the watchers of a project; undefined when nothing. */
export function eventOf(commit: StoreCommit, isMine: (projectId: string) => boolean): WatchProjectEvent | undefined {
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
    if (!isMine((change.after ?? change.before)?.projectId ?? '')) continue;
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
