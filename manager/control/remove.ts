import { TsswarmError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import type {
  Project,
  ProjectChange,
  RemoveProjectRequest,
  RemoveProjectResponse,
  Service,
} from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';
import { touchProject } from './revisions.ts';

/**
 * Takes a project, or some of its services, down: they are gone when their tasks are. A network that services of others are on stays.
 * @throws NOT_FOUND for a service that it does not have
 */
export function removeProject(
  tx: WriteTransaction,
  request: RemoveProjectRequest,
  now: number,
  random: Random,
): RemoveProjectResponse {
  const nothing = { keptNetworks: [], warnings: [] };
  const project = tx.find('project', 'name', request.name)[0];
  if (project === undefined) return { found: false, ...nothing };
  const services = chosen(tx, project, request.services);
  for (const service of services) {
    if (!service.pendingDelete) tx.update('service', { ...service, pendingDelete: true });
    overrideGrace(tx, service, request.graceOverrideMs);
  }
  if (request.services.length > 0) {
    const changes = services.map(({ spec }) => removal(spec.composeName));
    if (services.length > 0) touchProject(tx, project, changes, request.author, now, random);
    return { found: services.length > 0, ...nothing };
  }
  const keptNetworks: string[] = [];
  const warnings: string[] = [];
  for (const network of tx.find('network', 'project', project.id)) {
    if (network.pendingDelete) continue;
    const { name } = network.spec;
    const user = strangerOn(tx, project, name);
    if (user === undefined) tx.update('network', { ...network, pendingDelete: true });
    else {
      keptNetworks.push(name);
      warnings.push(`network "${name}" is in use by service "${user.spec.name}": it stays`);
    }
  }
  for (const volume of tx.find('volume', 'project', project.id)) {
    if (request.removeVolumes && !volume.pendingDelete) tx.update('volume', { ...volume, pendingDelete: true });
  }
  return { found: true, keptNetworks, warnings };
}

/** A service of somebody else that is on a network of the project. */
function strangerOn(tx: ReadTransaction, project: Project, name: string): Service | undefined {
  return tx
    .list('service')
    .find(
      ({ projectId, pendingDelete, spec }) =>
        projectId !== project.id && !pendingDelete && spec.task.networks.some(({ network }) => network === name),
    );
}

const removal = (name: string): ProjectChange => ({ kind: 'service', name, action: 'remove', fields: [] });

/** The services of a project that are meant: the named ones, or all. @throws NOT_FOUND naming the one that is not there */
export function chosen(tx: ReadTransaction, project: Project, names: readonly string[]): readonly Service[] {
  const services = tx
    .find('service', 'project', project.id)
    .filter((service) => !service.pendingDelete || names.length === 0);
  if (names.length === 0) return services;
  return names.map((name) => {
    const service = services.find(({ spec }) => spec.composeName === name);
    if (service !== undefined) return service;
    throw new TsswarmError('NOT_FOUND', `finding service "${name}": project "${project.name}" has no such service`);
  });
}

/** Replaces the stop grace of a service's tasks; a negative one replaces nothing. */
export function overrideGrace(tx: WriteTransaction, service: Service, graceOverrideMs: number): void {
  if (graceOverrideMs < 0) return;
  for (const task of tx.find('task', 'service', service.id)) {
    if (!isFinal(task) && task.graceOverrideMs !== graceOverrideMs) tx.update('task', { ...task, graceOverrideMs });
  }
}
