import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { ProjectId, RevisionId, ServiceId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type {
  Author,
  DesiredProject,
  ListRevisionsResponse,
  Project,
  ProjectChange,
  Revision,
  SecretSpec,
  Service,
  ServiceSpec,
} from '../../proto/types/index.ts';
import { DEFAULT_REVISION_LIMIT } from '../cluster/spec.ts';
import { canonical, compareServiceSpecs, ownLabels } from '../model/spec-change.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';

/** Configs of more bytes than this together are not kept with every revision. */
const MOST_CONTENTS_BYTES = 1024 * 1024;
const NOTHING = new Uint8Array();

/** A change of a project, or of a service of no project (`projectId` is empty then). */
export interface RecordedChange {
  readonly number: number;
  readonly projectId: ProjectId | '';
  readonly serviceId?: ServiceId;
  readonly changes: readonly ProjectChange[];
  readonly author: Author | undefined;
}

/**
 * Keeps what a project, or a service of no project, is now as a revision, and forgets the oldest beyond the limit. One that is what the
 * newest revision says already (something was only started again) makes none.
 */
export function recordRevision(tx: WriteTransaction, change: RecordedChange, now: number, random: Random): void {
  const { number, projectId, serviceId = '', author } = change;
  const { desired, withoutContents } = presentOf(tx, projectId, serviceId);
  const kept = revisionsOf(tx, projectId || serviceId);
  if (kept[0] !== undefined && meaningOf(kept[0].desired) === meaningOf(desired)) return;
  tx.create('revision', {
    id: newId<RevisionId>(random),
    meta: { version: 0, createdAt: now, updatedAt: now },
    projectId,
    serviceId,
    number,
    desired,
    withoutContents,
    changes: change.changes.filter(({ action }) => action !== 'none' && action !== 'orphan'),
    ...(author === undefined ? {} : { author }),
  });
  const limit = tx.list('cluster')[0]?.spec.revisionLimit ?? DEFAULT_REVISION_LIMIT;
  for (const { id } of kept.slice(limit - 1)) tx.remove('revision', id);
}

/** The next revision of a project, after a change of one of its services alone. */
export function touchProject(
  tx: WriteTransaction,
  project: Project,
  changes: readonly ProjectChange[],
  author: Author | undefined,
  now: number,
  random: Random,
): void {
  const number = project.revision + 1;
  tx.update('project', { ...project, revision: number });
  recordRevision(tx, { number, projectId: project.id, changes, author }, now, random);
}

/** Revisions of a project or a service of no project, the newest first. */
export function revisionsOf(tx: ReadTransaction, owner: string): readonly Revision[] {
  return [...tx.find('revision', 'owner', owner)].sort((a, b) => b.number - a.number);
}

/** What `ListRevisions` answers. @throws NOT_FOUND */
export function listRevisions(tx: ReadTransaction, projectName: string, serviceId: string): ListRevisionsResponse {
  const project = projectName === '' ? undefined : demandProject(tx, projectName);
  const owner = project?.id ?? serviceId;
  const services =
    project === undefined
      ? [tx.get('service', serviceId as ServiceId)].filter((service) => service !== undefined)
      : tx.find('service', 'project', project.id).filter(({ pendingDelete }) => !pendingDelete);
  const revisions = revisionsOf(tx, owner);
  const recorded = revisions[0]?.desired.services ?? [];
  const departed = services.filter(({ spec }) => {
    const before = recorded.find(({ name }) => name === spec.name);
    return before !== undefined && !isSame(before, spec);
  });
  return {
    revisions: revisions.map((revision) => ({
      ...revision,
      desired: { ...revision.desired, configs: revision.desired.configs.map(withoutBytes) },
    })),
    departed: departed.map(({ spec }) => spec.composeName),
  };
}

/**
 * What has to be applied to go back to a revision: secrets as they are now (one that was replaced is seldom good for anything), configs as
 * they were then.
 * @param number 0: the one before the newest
 * @throws NOT_FOUND
 */
export function revisionToApply(
  tx: ReadTransaction,
  project: Project,
  number: number,
): { readonly desired: DesiredProject; readonly number: number } {
  const action = `rolling back "${project.name}"`;
  const all = revisionsOf(tx, project.id);
  const revision = number === 0 ? all[1] : all.find((one) => one.number === number);
  if (revision === undefined) {
    const numbers = all.map((one) => one.number).reverse();
    throw new TsswarmError(
      'NOT_FOUND',
      number === 0
        ? `${action}: there is no revision before the present one`
        : `${action} to revision ${number}: it is not kept, those that are: ${numbers.join(', ')}`,
      { hint: `see "tsswarm stack history ${project.name}"` },
    );
  }
  const { desired, withoutContents } = revision;
  const fill = (table: 'secret' | 'config', spec: SecretSpec): SecretSpec => {
    const present = tx.find(table, 'name', spec.name)[0];
    if (present !== undefined) return { ...spec, data: present.spec.data };
    throw new TsswarmError(
      'NOT_FOUND',
      `${action} to revision ${revision.number}: ${table} "${spec.name}" is not there any more`,
    );
  };
  return {
    number: revision.number,
    desired: {
      ...desired,
      secrets: desired.secrets.map((spec) => fill('secret', spec)),
      configs: withoutContents ? desired.configs.map((spec) => fill('config', spec)) : desired.configs,
    },
  };
}

/**
 * The spec that a service had before the one it has now, whatever became of those in between; undefined: none is known.
 */
export function specBefore(tx: ReadTransaction, service: Service): ServiceSpec | undefined {
  const specs = revisionsOf(tx, service.projectId || service.id).flatMap(({ desired }) =>
    desired.services.filter(({ name }) => name === service.spec.name),
  );
  // Newer ones that it is not: an update to them was rolled back.
  const present = specs.findIndex((spec) => isSame(spec, service.spec));
  if (present < 0) return service.previous?.spec;
  return specs.slice(present).find((spec) => !isSame(spec, service.spec)) ?? service.previous?.spec;
}

/** @throws NOT_FOUND */
export function demandProject(tx: ReadTransaction, name: string): Project {
  const project = tx.find('project', 'name', name)[0];
  if (project !== undefined) return project;
  throw new TsswarmError('NOT_FOUND', `finding project "${name}": no such project`, { hint: 'bring it up first' });
}

/** How often somebody forced an update makes no other spec. */
const isSame = (a: ServiceSpec, b: ServiceSpec): boolean =>
  compareServiceSpecs(a, b).fields.every((field) => field === 'task.forceUpdate');

/** A project as text, without where its file is. */
function meaningOf(desired: DesiredProject): string {
  const services = desired.services.map((spec) => {
    const { container } = spec.task;
    return { ...spec, task: { ...spec.task, container: { ...container, labels: ownLabels(container.labels) } } };
  });
  return canonical({ ...desired, services, workingDir: '', configFiles: [] });
}

const withoutForce = (spec: ServiceSpec): ServiceSpec => ({ ...spec, task: { ...spec.task, forceUpdate: 0 } });

const withoutBytes = (spec: SecretSpec): SecretSpec => ({ ...spec, data: NOTHING });

/** What the store has of a project, or of a service of no project, in the form in which it was asked for. */
function presentOf(
  tx: ReadTransaction,
  projectId: ProjectId | '',
  serviceId: ServiceId | '',
): Pick<Revision, 'desired' | 'withoutContents'> {
  if (projectId === '' && serviceId !== '') {
    const service = tx.get('service', serviceId);
    return {
      desired: { ...EMPTY, services: service === undefined ? [] : [withoutForce(service.spec)] },
      withoutContents: false,
    };
  }
  const project = projectId === '' ? undefined : tx.get('project', projectId);
  if (project === undefined) return { desired: EMPTY, withoutContents: false };
  const owned = <T extends { readonly spec: object }>(objects: readonly T[]): T['spec'][] =>
    objects.map(({ spec }) => spec);
  const services = owned(tx.find('service', 'project', project.id).filter(({ pendingDelete }) => !pendingDelete)).map(
    withoutForce,
  );
  const networks = owned(tx.find('network', 'project', project.id).filter(({ pendingDelete }) => !pendingDelete));
  const volumes = owned(tx.find('volume', 'project', project.id).filter(({ pendingDelete }) => !pendingDelete));
  const configs = owned(tx.find('config', 'project', project.id));
  const names = new Set(networks.map(({ name }) => name));
  const withoutContents = configs.reduce((sum, { data }) => sum + data.length, 0) > MOST_CONTENTS_BYTES;
  const attached = services.flatMap(({ task }) => task.networks.map(({ network }) => network));
  const foreign = services.flatMap(({ task }) =>
    task.container.mounts.flatMap((mount) =>
      mount.type === 'volume' && mount.driver === 'external' ? [mount.source] : [],
    ),
  );
  return {
    withoutContents,
    desired: {
      name: project.name,
      workingDir: project.workingDir,
      configFiles: project.configFiles,
      services,
      networks,
      volumes,
      secrets: owned(tx.find('secret', 'project', project.id)).map(withoutBytes),
      configs: withoutContents ? configs.map(withoutBytes) : configs,
      externalNetworks: [...new Set(attached.filter((name) => !names.has(name)))],
      externalVolumes: [...new Set(foreign)],
      externalSecrets: foreignFiles(services, 'secrets', tx.find('secret', 'project', project.id)),
      externalConfigs: foreignFiles(services, 'configs', tx.find('config', 'project', project.id)),
    },
  };
}

/** Names of the secrets or configs that services have and the project does not. */
function foreignFiles(
  services: readonly ServiceSpec[],
  kind: 'secrets' | 'configs',
  owned: readonly { readonly spec: SecretSpec }[],
): readonly string[] {
  const own = new Set(owned.map(({ spec }) => spec.name));
  const used = services.flatMap(({ task }) => task.container[kind].map(({ name }) => name));
  return [...new Set(used.filter((name) => !own.has(name)))];
}

const EMPTY: DesiredProject = {
  name: '',
  workingDir: '',
  configFiles: [],
  services: [],
  networks: [],
  volumes: [],
  secrets: [],
  configs: [],
  externalNetworks: [],
  externalVolumes: [],
  externalSecrets: [],
  externalConfigs: [],
};
