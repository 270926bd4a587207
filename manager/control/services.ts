import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId, ServiceId } from '../../base/ids.ts';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type {
  CreateServiceRequest,
  CreateServiceResponse,
  ProjectChange,
  RemoveServiceRequest,
  RollbackServiceRequest,
  Service,
  ServiceSpec,
  UpdateServiceRequest,
  UpdateServiceResponse,
} from '../../proto/types/index.ts';
import type { WriteTransaction } from '../store/types.ts';
import { applyService } from './apply-service.ts';
import { recordRevision, specBefore, touchProject } from './revisions.ts';
import { validateService } from './validate.ts';
import { DEFAULT_NETWORK } from '../../base/network-driver.ts';

type Edge = { readonly clock: Pick<Clock, 'now'>; readonly random: Random };

/** Makes a service of no project. @throws ALREADY_EXISTS, and what {@link validateService} throws */
export function createService(
  tx: WriteTransaction,
  { spec, author }: CreateServiceRequest,
  { clock, random }: Edge,
): CreateServiceResponse {
  const now = clock.now();
  const action = `creating service "${spec.name}"`;
  if (tx.find('service', 'name', spec.name).length > 0) {
    throw new TsswarmError('ALREADY_EXISTS', `${action}: a service of that name exists`, {
      hint: 'choose another name, or change the one that exists with "tsswarm service update"',
    });
  }
  makeDefaultNetwork(tx, spec, now, random);
  validateService(tx, spec, undefined);
  const changes: ProjectChange[] = [];
  apply(tx, spec, undefined, { changes }, now, random);
  const service = tx.find('service', 'name', spec.name)[0];
  if (service === undefined) throw new Error(`the service "${spec.name}" was not made`);
  recordRevision(tx, { number: 1, projectId: '', serviceId: service.id, changes, author }, now, random);
  return { serviceId: service.id, warnings: [] };
}

/**
 * Gives a service another spec.
 * @throws NOT_FOUND; CONFLICT when it has changed since the spec was made; what {@link validateService} throws
 */
export function updateService(
  tx: WriteTransaction,
  { serviceId, version, spec, author, dryRun }: UpdateServiceRequest,
  edge: Edge,
): UpdateServiceResponse {
  return change(tx, demandService(tx, serviceId, version), spec, author, edge, { dryRun: dryRun === true });
}

/** Gives a service the spec that it had before. @throws as {@link updateService}; NOT_FOUND when none is known */
export function rollbackService(
  tx: WriteTransaction,
  { serviceId, version, author }: RollbackServiceRequest,
  edge: Edge,
): UpdateServiceResponse {
  const service = demandService(tx, serviceId, version);
  const spec = specBefore(tx, service);
  if (spec !== undefined) {
    const rollback = 'to the specification before, as asked for';
    return change(tx, service, spec, author, edge, { rollback });
  }
  throw new TsswarmError(
    'NOT_FOUND',
    `rolling back service "${service.spec.name}": it does not have a previous specification`,
  );
}

/** Takes a service down; it is gone when its tasks are. @throws NOT_FOUND */
export function removeService(tx: WriteTransaction, { serviceId, author }: RemoveServiceRequest, edge: Edge): void {
  const service = demandService(tx, serviceId);
  if (service.pendingDelete) return;
  tx.update('service', { ...service, pendingDelete: true });
  const project = service.projectId === '' ? undefined : tx.get('project', service.projectId);
  if (project === undefined) return;
  const removed = { kind: 'service', name: service.spec.composeName, action: 'remove', fields: [] } as const;
  touchProject(tx, project, [removed], author, edge.clock.now(), edge.random);
}

function change(
  tx: WriteTransaction,
  service: Service,
  spec: ServiceSpec,
  author: UpdateServiceRequest['author'],
  { clock, random }: Edge,
  { rollback, dryRun = false }: { readonly rollback?: string; readonly dryRun?: boolean },
): UpdateServiceResponse {
  const now = clock.now();
  if (service.pendingDelete)
    throw new TsswarmError('IN_USE', `changing service "${service.spec.name}": it is being removed`);
  if (spec.name !== service.spec.name || spec.composeName !== service.spec.composeName) {
    throw new TsswarmError('INVALID_INPUT', `changing service "${service.spec.name}": its name cannot change`);
  }
  if (!dryRun) makeDefaultNetwork(tx, spec, now, random);
  validateService(tx, spec, service);
  const changes: ProjectChange[] = [];
  apply(tx, spec, service, { changes, dryRun, ...(rollback === undefined ? {} : { rollback }) }, now, random);
  const fields = changes.flatMap((one) => one.fields);
  const effects = changes.flatMap((one) => one.effects ?? []);
  const replaces = changes.some(({ action }) => action === 'replace');
  if (dryRun) return { fields, replaces, effects, warnings: [] };
  const isChanged = changes.some(({ action }) => action !== 'none');
  const project = service.projectId === '' ? undefined : tx.get('project', service.projectId);
  if (isChanged && project !== undefined) touchProject(tx, project, changes, author, now, random);
  else if (isChanged) {
    const number = service.revision + 1;
    recordRevision(tx, { number, projectId: '', serviceId: service.id, changes, author }, now, random);
  }
  const stopped = `service "${service.spec.name}" is stopped: it shows when it is started (tscompose start)`;
  return { fields, replaces, effects, warnings: service.stopped && isChanged ? [stopped] : [] };
}

function apply(
  tx: WriteTransaction,
  spec: ServiceSpec,
  service: Service | undefined,
  {
    changes,
    dryRun = false,
    rollback,
  }: { readonly changes: ProjectChange[]; readonly dryRun?: boolean; readonly rollback?: string },
  now: number,
  random: Random,
): void {
  const project = service === undefined || service.projectId === '' ? undefined : tx.get('project', service.projectId);
  const siblings = project === undefined ? [] : tx.find('service', 'project', project.id).map((one) => one.spec);
  applyService(spec, {
    project: { id: project?.id ?? '', name: project?.name ?? '' },
    siblings,
    force: false,
    keep: false,
    start: service === undefined,
    resume: true,
    ...(rollback === undefined ? {} : { rollback }),
    revision: ((project ?? service)?.revision ?? 0) + 1,
    changedFiles: new Set(),
    replaced: new Set(),
    sink: { tx, write: (write) => (dryRun ? undefined : write(tx)) },
    note: (kind, name, action, fields = [], effects = []) =>
      void changes.push({ kind, name, action, fields, ...(effects.length === 0 ? {} : { effects }) }),
    now,
    random,
  });
}

/** A service that names no network is on this one: it is made when it is needed first, and belongs to nobody. */
function makeDefaultNetwork(tx: WriteTransaction, { task }: ServiceSpec, now: number, random: Random): void {
  if (!task.networks.some(({ network }) => network === DEFAULT_NETWORK)) return;
  if (tx.find('network', 'name', DEFAULT_NETWORK).length > 0) return;
  tx.create('network', {
    id: newId<NetworkId>(random),
    meta: { version: 0, createdAt: now, updatedAt: now },
    projectId: '',
    spec: {
      name: DEFAULT_NETWORK,
      composeName: DEFAULT_NETWORK,
      driver: 'bridge',
      labels: {},
      internal: false,
      attachable: false,
      options: {},
      subnet: '',
      gateway: '',
      ipRange: '',
      auxiliaryAddresses: {},
    },
    subnet: '',
    gateway: '',
    pendingDelete: false,
  });
}

function demandService(tx: WriteTransaction, id: string, version?: number): Service {
  const service = tx.get('service', id as ServiceId);
  if (service === undefined) throw missing(id);
  if (version === undefined || version === service.meta.version) return service;
  throw new TsswarmError('CONFLICT', `changing service "${service.spec.name}": it has changed meanwhile`, {
    hint: 'try again',
  });
}

const missing = (id: string): TsswarmError => new TsswarmError('NOT_FOUND', `finding service "${id}": no such service`);
