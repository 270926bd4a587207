import { createHash } from 'node:crypto';
import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId, ProjectId, SecretId, VolumeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type {
  ApplyProjectRequest,
  ApplyProjectResponse,
  ChangeAction,
  ChangeKind,
  DesiredProject,
  Project,
  ProjectChange,
  Service,
  ServiceSpec,
  Task,
} from '../../proto/types/index.ts';
import { canonical, compareServiceSpecs } from '../model/spec-change.ts';
import { currentOf, isJob, slotsOf } from '../model/slots.ts';
import { willRestart } from '../model/restart.ts';
import { isFinal } from '../model/task-state.ts';
import { beginUpdate, isPaused, resumeUpdate } from '../model/update.ts';
import type { WriteTransaction } from '../store/types.ts';
import { refuseNetworkChange, validateProject } from './validate.ts';

/** Where the plan's writes go: a transaction, or nowhere in a dry run. */
interface Sink {
  readonly tx: WriteTransaction;
  readonly write: (change: (tx: WriteTransaction) => void) => void;
}

/**
 * Makes a project what was asked for: all of it or none of it. What is equal already is not written, so that applying
 * twice changes nothing; a dry run takes the same path and only leaves the writes out.
 * @throws what {@link validateProject} throws; IN_USE for a network or volume whose definition cannot change
 */
export function applyProject(
  tx: WriteTransaction,
  request: ApplyProjectRequest,
  now: number,
  random: Random,
): ApplyProjectResponse {
  const { project } = request;
  validateProject(project, tx);
  let dirty = false;
  const sink: Sink = {
    tx,
    write: (change) => {
      dirty = true;
      if (!request.dryRun) change(tx);
    },
  };
  const known = tx.find('project', 'name', project.name)[0];
  const hash = createHash('sha256').update(canonical(project)).digest('hex');
  const id = known?.id ?? newId<ProjectId>(random);
  const revision = (known?.revision ?? 0) + 1;
  const meta = { version: 0, createdAt: now, updatedAt: now };
  const changes: ProjectChange[] = [];
  const note = (kind: ChangeKind, name: string, action: ChangeAction, fields: readonly string[] = []): void => {
    changes.push({ kind, name, action, fields });
  };

  applyNetworks(project, id, sink, note, meta, random);
  applyVolumes(project, id, sink, note, meta, random);
  const changedFiles = new Set([
    ...applyFiles('secret', project, id, sink, note, meta, random),
    ...applyFiles('config', project, id, sink, note, meta, random),
  ]);
  const selected = selection(project, request.onlyServices);
  const replaced = new Set<string>();
  for (const spec of inDependencyOrder(project.services)) {
    if (!selected.has(spec.composeName)) continue;
    applyService(spec, { request, id, revision, changedFiles, replaced, sink, note, now, random });
  }
  const wanted = new Set(project.services.map(({ name }) => name));
  for (const service of tx.find('service', 'project', id)) {
    if (wanted.has(service.spec.name) || service.pendingDelete) continue;
    note('service', service.spec.composeName, request.removeOrphans ? 'remove' : 'orphan');
    if (request.removeOrphans) sink.write(() => tx.update('service', { ...service, pendingDelete: true }));
  }

  const next = { id, name: project.name, hash, workingDir: project.workingDir, configFiles: project.configFiles };
  if (known === undefined) sink.write(() => tx.create('project', { ...next, meta, revision }));
  else if (dirty) sink.write(() => tx.update('project', { ...next, meta: known.meta, revision }));
  return { projectId: id, revision: dirty ? revision : (known?.revision ?? revision), changes, warnings: [] };
}

type Note = (kind: ChangeKind, name: string, action: ChangeAction, fields?: readonly string[]) => void;
type NewMeta = Project['meta'];

function applyNetworks(
  project: DesiredProject,
  projectId: ProjectId,
  { tx, write }: Sink,
  note: Note,
  meta: NewMeta,
  random: Random,
): void {
  for (const spec of project.networks) {
    const known = tx.find('network', 'name', spec.name)[0];
    if (known !== undefined && known.projectId !== projectId && known.projectId !== '') {
      throw new TsswarmError('ALREADY_EXISTS', `making network "${spec.name}": another project has one of that name`);
    }
    if (known === undefined) {
      note('network', spec.name, 'create');
      write(() =>
        tx.create('network', {
          id: newId<NetworkId>(random),
          meta,
          projectId,
          spec,
          subnet: '',
          gateway: '',
          pendingDelete: false,
        }),
      );
      continue;
    }
    if (known.pendingDelete) {
      // It is just going: keeping it is what was asked for now. Subnet and bridge stay as they are.
      note('network', spec.name, 'create');
      write(() => tx.update('network', { ...known, spec, projectId, pendingDelete: false }));
      continue;
    }
    const fields = differingFields(known.spec, spec);
    if (fields.length === 0) {
      note('network', spec.name, 'none');
      continue;
    }
    const used = tx
      .list('task')
      .some((task) => !isFinal(task) && task.addresses.some(({ networkId }) => networkId === known.id));
    const hard = fields.find((field) => field !== 'labels');
    if (used && hard !== undefined) refuseNetworkChange(known, hard);
    note('network', spec.name, 'update', fields);
    const subnetChanges = fields.some((field) => ['subnet', 'gateway', 'ipRange'].includes(field));
    write(() => tx.update('network', { ...known, spec, ...(subnetChanges ? { subnet: '', gateway: '' } : {}) }));
  }
}

function applyVolumes(
  project: DesiredProject,
  projectId: ProjectId,
  { tx, write }: Sink,
  note: Note,
  meta: NewMeta,
  random: Random,
): void {
  for (const spec of project.volumes) {
    const known = tx.find('volume', 'name', spec.name)[0];
    if (known === undefined) {
      note('volume', spec.name, 'create');
      write(() => tx.create('volume', { id: newId<VolumeId>(random), meta, projectId, spec, pendingDelete: false }));
      continue;
    }
    const fields = differingFields(known.spec, spec);
    const hard = fields.find((field) => field !== 'labels');
    if (hard !== undefined && !known.pendingDelete) {
      throw new TsswarmError('IN_USE', `changing "${hard}" of volume "${spec.name}": its data would be lost`, {
        hint: 'remove the volume first (down -v), or give the new one another name',
      });
    }
    const same = fields.length === 0 && !known.pendingDelete && known.projectId === projectId;
    note('volume', spec.name, same ? 'none' : known.pendingDelete ? 'create' : 'update', fields);
    if (!same) write(() => tx.update('volume', { ...known, spec, projectId, pendingDelete: false }));
  }
}

/** @returns the names of those whose content changed */
function applyFiles(
  table: 'secret' | 'config',
  project: DesiredProject,
  projectId: ProjectId,
  { tx, write }: Sink,
  note: Note,
  meta: NewMeta,
  random: Random,
): string[] {
  const changed: string[] = [];
  for (const spec of project[`${table}s`]) {
    const known = tx.find(table, 'name', spec.name)[0];
    if (known === undefined) {
      note(table, spec.name, 'create');
      write(() => tx.create(table, { id: newId<SecretId>(random), meta, projectId, spec } as never));
      continue;
    }
    const fields = differingFields(known.spec, spec);
    note(table, spec.name, fields.length === 0 ? 'none' : 'update', fields);
    if (fields.length === 0) continue;
    if (fields.includes('data')) changed.push(`${table}/${spec.name}`);
    write(() => tx.update(table, { ...known, spec, projectId } as never));
  }
  return changed;
}

function applyService(
  spec: ServiceSpec,
  context: {
    readonly request: ApplyProjectRequest;
    readonly id: ProjectId;
    readonly revision: number;
    readonly changedFiles: ReadonlySet<string>;
    readonly replaced: Set<string>;
    readonly sink: Sink;
    readonly note: Note;
    readonly now: number;
    readonly random: Random;
  },
): void {
  const { request, id, revision, sink, note, replaced } = context;
  const { tx, write } = sink;
  const known = tx.find('service', 'name', spec.name)[0];
  if (known === undefined || known.pendingDelete) {
    if (known !== undefined) {
      throw new TsswarmError('IN_USE', `making service "${spec.composeName}": its predecessor is still being removed`, {
        hint: 'try again in a moment',
      });
    }
    note('service', spec.composeName, 'create');
    const service: Service = {
      id: newId(context.random),
      meta: { version: 0, createdAt: context.now, updatedAt: context.now },
      projectId: id,
      projectName: request.project.name,
      spec,
      specVersion: 1,
      revision,
      stopped: request.noStart,
      restartCount: 0,
      ports: [],
      pendingDelete: false,
    };
    write(() => tx.create('service', service));
    return;
  }
  if ((known.spec.mode ?? 'replicated') !== (spec.mode ?? 'replicated')) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `changing service "${spec.composeName}": it is ${known.spec.mode ?? 'replicated'} and cannot become ${spec.mode ?? 'replicated'}`,
      { hint: `take it down first: tscompose down ${spec.composeName}` },
    );
  }
  const change = compareServiceSpecs(known.spec, spec);
  const { secrets, configs } = spec.task.container;
  const freshFiles = [
    ...secrets.filter(({ name }) => context.changedFiles.has(`secret/${name}`)).map(({ name }) => `secret ${name}`),
    ...configs.filter(({ name }) => context.changedFiles.has(`config/${name}`)).map(({ name }) => `config ${name}`),
  ];
  const forced = request.forceRecreate.includes(spec.composeName);
  const replaces = forced || ((change.replaces || freshFiles.length > 0) && !request.noRecreate);
  const follows = spec.dependsOn.some((dependency) => dependency.restart && replaced.has(dependency.service));
  const again = !request.noStart && hasEnded(tx, known, request.project);
  const starts = !request.noStart && (known.stopped || again);
  const resumes = !replaces && !request.noRecreate && !request.noStart && isPaused(known);
  const fields = request.noRecreate && change.replaces ? [] : [...change.fields, ...freshFiles];
  if (replaces) replaced.add(spec.composeName);
  if (fields.length === 0 && !replaces && !starts && !follows && !resumes) {
    note('service', spec.composeName, 'none');
    return;
  }
  note('service', spec.composeName, replaces ? 'replace' : 'update', fields);
  const next: Service = {
    ...known,
    spec: fields.length > 0 || replaces ? spec : known.spec,
    revision,
    stopped: request.noStart ? known.stopped : false,
    restartCount: known.restartCount + ((again && !resumes) || (follows && !replaces) ? 1 : 0),
  };
  const tasks = tx.find('task', 'service', known.id);
  if (resumes) {
    const { service, forgotten } = resumeUpdate(next, tasks, context.now);
    write(() => {
      tx.update('service', service);
      for (const task of forgotten) tx.update('task', { ...task, desiredState: 'remove' });
    });
  } else if (!replaces) {
    write(() => tx.update('service', next));
  } else if (isJob(spec)) {
    write(() => tx.update('service', { ...next, spec, specVersion: known.specVersion + 1 }));
  } else {
    const sameFiles = !forced && freshFiles.length === 0;
    const { service, adopted } = superseding(known, next, spec, tasks, sameFiles, context.now);
    write(() => {
      tx.update('service', service);
      for (const task of adopted) tx.update('task', task);
    });
  }
}

/**
 * Begins the update to `spec`. One that is under way is superseded: what it goes back to stays the last spec that was reached;
 * when that is what is asked for now, the tasks that still have it stay.
 */
function superseding(
  known: Service,
  next: Service,
  spec: ServiceSpec,
  tasks: readonly Task[],
  sameFiles: boolean,
  now: number,
): ReturnType<typeof beginUpdate> {
  const state = known.updateStatus?.state ?? 'completed';
  const isReached = state === 'completed' || state === 'rollback_completed';
  const previous = isReached ? undefined : known.previous;
  const goesBack = previous !== undefined && sameFiles && !compareServiceSpecs(previous.spec, spec).replaces;
  const base = { ...next, previous: previous ?? { spec: known.spec, specVersion: known.specVersion } };
  const target = {
    spec,
    specVersion: known.specVersion + 1,
    ...(goesBack ? { adopts: previous.specVersion } : {}),
  };
  return beginUpdate(base, tasks, target, now);
}

/**
 * Some slot has ended and nothing will start it again by itself: bringing the project up does, as Compose does. A job that
 * has done what others wait for is left alone: it is not done twice.
 */
function hasEnded(tx: WriteTransaction, service: Service, project: DesiredProject): boolean {
  const isAwaited = project.services.some(({ dependsOn }) =>
    dependsOn.some(({ service: name, condition }) => name === service.spec.composeName && condition === 'completed'),
  );
  for (const slot of slotsOf(tx.find('task', 'service', service.id)).values()) {
    const current = currentOf(slot, service);
    if (current === undefined || !isFinal(current) || willRestart(current)) continue;
    const { state } = current.status;
    const isDone = state === 'complete' && (isAwaited || isJob(service.spec));
    if (state === 'shutdown' || state === 'orphaned' || isDone) continue;
    if (current.restartCount === service.restartCount) return true;
  }
  return false;
}

/** The named services with everything they depend on; all of them when none is named. */
function selection(project: DesiredProject, only: readonly string[]): ReadonlySet<string> {
  if (only.length === 0) return new Set(project.services.map(({ composeName }) => composeName));
  const byName = new Map(project.services.map((service) => [service.composeName, service]));
  const chosen = new Set<string>();
  const choose = (name: string): void => {
    const service = byName.get(name);
    if (service === undefined || chosen.has(name)) return;
    chosen.add(name);
    for (const dependency of service.dependsOn) choose(dependency.service);
  };
  for (const name of only) {
    if (!byName.has(name))
      throw new TsswarmError('NOT_FOUND', `selecting service "${name}": no such service in the project`);
    choose(name);
  }
  return chosen;
}

function inDependencyOrder(services: readonly ServiceSpec[]): readonly ServiceSpec[] {
  const byName = new Map(services.map((service) => [service.composeName, service]));
  const ordered = new Set<ServiceSpec>();
  const visit = (service: ServiceSpec | undefined): void => {
    if (service === undefined || ordered.has(service)) return;
    for (const dependency of service.dependsOn) visit(byName.get(dependency.service));
    ordered.add(service);
  };
  for (const service of services) visit(service);
  return [...ordered];
}

function differingFields(before: object, after: object): string[] {
  const fields = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...fields].filter(
    (field) => canonical(before[field as keyof typeof before]) !== canonical(after[field as keyof typeof after]),
  );
}
