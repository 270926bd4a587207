import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { ProjectId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type {
  ChangeAction,
  ChangeKind,
  FieldEffect,
  LiveFeature,
  Service,
  ServiceSpec,
  Task,
} from '../../proto/types/index.ts';
import { unmetConstraint } from '../model/constraints.ts';
import { willRestart } from '../model/restart.ts';
import { currentOf, isGlobal, isJob, slotsOf } from '../model/slots.ts';
import {
  CONSTRAINTS,
  compareServiceSpecs,
  contentEffect,
  EVERY_FEATURE,
  replacesUnseen,
  summary,
} from '../model/spec-change.ts';
import { isFinal, isLive } from '../model/task-state.ts';
import { asRollback, beginUpdate, isPaused, resumeUpdate } from '../model/update.ts';
import type { WriteTransaction } from '../store/types.ts';

/** Where the plan's writes go: a transaction, or nowhere in a dry run. */
export interface Sink {
  readonly tx: WriteTransaction;
  readonly write: (change: (tx: WriteTransaction) => void) => void;
}

/** Puts down a line of the plan. */
export type Note = (
  kind: ChangeKind,
  name: string,
  action: ChangeAction,
  fields?: readonly string[],
  effects?: readonly FieldEffect[],
) => void;

/** How a service is made what its spec says. */
export interface ServiceContext {
  /** Whose it is; both empty: nobody's. */
  readonly project: { readonly id: ProjectId | ''; readonly name: string };
  /** All services of the project. */
  readonly siblings: readonly ServiceSpec[];
  /** Replace its tasks although nothing changed. */
  readonly force: boolean;
  /** Change nothing that would replace its tasks. */
  readonly keep: boolean;
  /** Start it when it is stopped, and slots of it that have ended. */
  readonly start: boolean;
  /** Go on with an update that is paused. */
  readonly resume: boolean;
  /** It goes back to an earlier spec: "to revision 3". */
  readonly rollback?: string;
  /** Of the project. */
  readonly revision: number;
  /** "secret/<name>" and "config/<name>" of those with new contents. */
  readonly changedFiles: ReadonlySet<string>;
  /** Compose names of services whose tasks are replaced; grows. */
  readonly replaced: Set<string>;
  readonly sink: Sink;
  readonly note: Note;
  readonly now: number;
  readonly random: Random;
}

/**
 * Makes a service what its spec says, and says what that takes.
 * @throws ALREADY_EXISTS for a name that somebody else has; IN_USE while the one before is going; INVALID_INPUT for another mode
 */
export function applyService(wanted: ServiceSpec, context: ServiceContext): void {
  const { project, revision, sink, note, replaced } = context;
  const { tx, write } = sink;
  const known = tx.find('service', 'name', wanted.name)[0];
  if (known === undefined || known.pendingDelete) {
    if (known !== undefined) {
      throw new TsswarmError(
        'IN_USE',
        `making service "${wanted.composeName}": its predecessor is still being removed`,
        {
          hint: 'try again in a moment',
        },
      );
    }
    note('service', wanted.composeName, 'create');
    const service: Service = {
      id: newId(context.random),
      meta: { version: 0, createdAt: context.now, updatedAt: context.now },
      projectId: project.id,
      projectName: project.name,
      spec: wanted,
      specVersion: 1,
      revision,
      stopped: !context.start,
      restartCount: 0,
      ports: [],
      pendingDelete: false,
      virtualIps: [],
    };
    write(() => tx.create('service', service));
    return;
  }
  if (known.projectId !== project.id) {
    const owner = known.projectName === '' ? 'a service of no project' : `project "${known.projectName}"`;
    throw new TsswarmError('ALREADY_EXISTS', `making service "${wanted.name}": ${owner} has that name`);
  }
  if ((known.spec.mode ?? 'replicated') !== (wanted.mode ?? 'replicated')) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `changing service "${wanted.composeName}": it is ${known.spec.mode ?? 'replicated'} and cannot become ${wanted.mode ?? 'replicated'}`,
      { hint: `remove it first: tsswarm service rm ${wanted.name}` },
    );
  }
  const spec = withForced(wanted, known.spec);
  const tasks = tx.find('task', 'service', known.id);
  const features = featuresOf(tx, tasks);
  const { secrets, configs } = spec.task.container;
  const freshFiles = new Set([
    ...secrets.filter(({ name }) => context.changedFiles.has(`secret/${name}`)).map(({ name }) => `secret ${name}`),
    ...configs.filter(({ name }) => context.changedFiles.has(`config/${name}`)).map(({ name }) => `config ${name}`),
  ]);
  const compared = compareServiceSpecs(known.spec, spec, features).effects.map((effect) =>
    placed(tx, spec, tasks, effect),
  );
  const change = summary([...compared, ...[...freshFiles].map((field) => contentEffect(field, features))]);
  // A spec that running tasks do not have is a new version of it, reached slot by slot, whether they are changed or replaced.
  const advances = context.force || (change.touches && !context.keep);
  const replaces = context.force || (change.replaces && !context.keep);
  const follows = spec.dependsOn.some((dependency) => dependency.restart && replaced.has(dependency.service));
  const again = context.start && hasEnded(tx, known, context.siblings);
  const starts = context.start && (known.stopped || again);
  const resumes = !advances && context.resume && isPaused(known);
  const { fields, effects } = context.keep && change.touches ? summary([]) : change;
  if (replaces) replaced.add(spec.composeName);
  if (fields.length === 0 && !advances && !starts && !follows && !resumes) {
    note('service', spec.composeName, 'none');
    return;
  }
  note('service', spec.composeName, replaces ? 'replace' : 'update', fields, effects);
  const next: Service = {
    ...known,
    spec: fields.length > 0 || advances ? spec : known.spec,
    revision,
    stopped: context.start ? false : known.stopped,
    restartCount: known.restartCount + ((again && !resumes) || (follows && !replaces) ? 1 : 0),
  };
  if (resumes) {
    const { service, forgotten } = resumeUpdate(next, tasks, context.now);
    write(() => {
      tx.update('service', service);
      for (const task of forgotten) tx.update('task', { ...task, desiredState: 'remove' });
    });
  } else if (!advances) {
    write(() => tx.update('service', next));
  } else if (isJob(spec)) {
    write(() => tx.update('service', { ...next, spec, specVersion: known.specVersion + 1 }));
  } else {
    const sameFiles = !context.force && freshFiles.size === 0;
    const begun = superseding(known, next, spec, tasks, sameFiles, context.now);
    const anew = context.force || replacesUnseen(change) ? { recreateBelow: begun.service.specVersion } : {};
    const asked = { ...begun.service, ...anew };
    const service = context.rollback === undefined ? asked : asRollback(asked, known, context.rollback);
    write(() => {
      tx.update('service', service);
      for (const task of begun.adopted) tx.update('task', task);
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
  // Moving tasks changes no spec: the one that they have was reached before.
  const isMove = known.updateStatus?.kind === 'rebalance';
  const isReached = isMove || state === 'completed' || state === 'rollback_completed';
  const previous = isReached ? undefined : known.previous;
  const goesBack = previous !== undefined && sameFiles && !compareServiceSpecs(previous.spec, spec).touches;
  const base = { ...next, previous: previous ?? { spec: known.spec, specVersion: known.specVersion } };
  const target = {
    spec,
    specVersion: known.specVersion + 1,
    ...(goesBack ? { adopts: previous.specVersion } : {}),
  };
  return beginUpdate(base, tasks, target, now);
}

/** Constraints stay without effect for tasks on nodes that satisfy them; a global service's tasks go with their nodes. */
function placed(tx: WriteTransaction, spec: ServiceSpec, tasks: readonly Task[], effect: FieldEffect): FieldEffect {
  if (effect.field !== CONSTRAINTS || effect.effect !== 'live' || isGlobal({ spec })) return effect;
  for (const task of tasks) {
    const node = task.oneOff || task.nodeId === '' || !isLive(task) ? undefined : tx.get('node', task.nodeId);
    const unmet = node && unmetConstraint(spec.task.constraints, node);
    if (unmet === undefined) continue;
    return { ...effect, effect: 'replace', reason: `node "${node?.description.hostname}" does not satisfy ${unmet}` };
  }
  return effect;
}

/** What can be changed in all tasks that run. */
function featuresOf(tx: WriteTransaction, tasks: readonly Task[]): ReadonlySet<LiveFeature> {
  let features = EVERY_FEATURE;
  for (const task of tasks) {
    if (task.oneOff || task.nodeId === '' || !isLive(task)) continue;
    features = features.intersection(new Set(tx.get('node', task.nodeId)?.description.live));
  }
  return features;
}

/**
 * Some slot has ended and nothing will start it again by itself: bringing the project up does, as Compose does. A job that
 * has done what others wait for is left alone: it is not done twice.
 */
function hasEnded(tx: WriteTransaction, service: Service, siblings: readonly ServiceSpec[]): boolean {
  const isAwaited = siblings.some(({ dependsOn }) =>
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

/** `--force` of an update is no part of what a file says: a spec without it is not another spec. */
function withForced(asked: ServiceSpec, known: ServiceSpec): ServiceSpec {
  const forceUpdate = Math.max(asked.task.forceUpdate, known.task.forceUpdate);
  return forceUpdate === asked.task.forceUpdate ? asked : { ...asked, task: { ...asked.task, forceUpdate } };
}
