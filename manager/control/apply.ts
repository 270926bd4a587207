import { createHash } from 'node:crypto';
import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId, ProjectId, SecretId, VolumeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type {
  ApplyProjectRequest,
  ApplyProjectResponse,
  DesiredProject,
  Project,
  ProjectChange,
  ServiceSpec,
} from '../../proto/types/index.ts';
import { canonical } from '../model/spec-change.ts';
import { isOnNetwork } from '../model/task-addresses.ts';
import { isFinal } from '../model/task-state.ts';
import type { WriteTransaction } from '../store/types.ts';
import { applyService } from './apply-service.ts';
import type { Note, Sink } from './apply-service.ts';
import { recordRevision } from './revisions.ts';
import { refuseNetworkChange, validateProject } from './validate.ts';

/**
 * Makes a project what was asked for: all of it or none of it. What is equal already is not written, so that applying
 * twice changes nothing; a dry run takes the same path and only leaves the writes out.
 * @param rollbackTo the revision that the project is, when somebody goes back to it
 * @throws what {@link validateProject} throws; IN_USE for a network or volume whose definition cannot change
 */
export function applyProject(
  tx: WriteTransaction,
  request: ApplyProjectRequest,
  now: number,
  random: Random,
  { rollbackTo }: { readonly rollbackTo?: number } = {},
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
  const note: Note = (kind, name, action, fields = [], effects = []) => {
    changes.push({ kind, name, action, fields, ...(effects.length === 0 ? {} : { effects }) });
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
    applyService(spec, {
      project: { id, name: project.name },
      siblings: project.services,
      force: request.forceRecreate.includes(spec.composeName),
      keep: request.noRecreate,
      start: !request.noStart,
      resume: !request.noRecreate && !request.noStart,
      ...(rollbackTo === undefined ? {} : { rollback: `to revision ${rollbackTo}` }),
      revision,
      changedFiles,
      replaced,
      sink,
      note,
      now,
      random,
    });
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
  if (dirty && !request.dryRun) {
    recordRevision(tx, { number: revision, projectId: id, changes, author: request.author }, now, random);
  }
  return { projectId: id, revision: dirty ? revision : (known?.revision ?? revision), changes, warnings: [] };
}

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
    const used = tx.list('task').some((task) => !isFinal(task) && isOnNetwork(task, known.id));
    const hard = fields.find((field) => field !== 'labels');
    if (used && hard !== undefined) refuseNetworkChange(known, hard);
    note('network', spec.name, 'update', fields);
    const subnetChanges = fields.some((field) => ['subnet', 'gateway', 'ipRange', 'ipv6'].includes(field));
    const { ipv6: _allocated, ...rest } = known;
    write(() => tx.update('network', subnetChanges ? { ...rest, spec, subnet: '', gateway: '' } : { ...known, spec }));
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
    // One that was made by hand stays when the project goes.
    const owner = known.projectId === '' ? '' : projectId;
    write(() => tx.update(table, { ...known, spec, projectId: owner } as never));
  }
  return changed;
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
