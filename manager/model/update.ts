import type { Service, Task, UpdateConfig, UpdateStatus } from '../../proto/types/index.ts';
import { slotNumbers, slotsOf } from './slots.ts';
import { compareServiceSpecs, replacesUnseen } from './spec-change.ts';
import { isLive } from './task-state.ts';

/** How long an update watches a new task that serves, when it does not say (swarmkit: 5 s). */
const DEFAULT_MONITOR_MS = 5000;
/** How a rollback goes when the spec does not say (swarmkit's defaults). */
const DEFAULT_ROLLBACK: UpdateConfig = { parallelism: 1, delayMs: 0, order: 'stop-first' };

/** What an update or rollback leads to. */
export interface UpdateTarget {
  readonly spec: Service['spec'];
  readonly specVersion: number;
  /** Live tasks of this spec version are of the new spec already: they stay. */
  readonly adopts?: number;
}

/** Whether the newest update is about the present spec and under way. */
export const isUpdating = ({ updateStatus, specVersion }: Service): boolean =>
  updateStatus?.specVersion === specVersion &&
  (updateStatus.state === 'updating' || updateStatus.state === 'rollback_started');

/** Whether the newest update is about the present spec and goes on only when somebody says so. */
export const isPaused = ({ updateStatus, specVersion }: Service): boolean =>
  updateStatus?.specVersion === specVersion &&
  (updateStatus.state === 'paused' || updateStatus.state === 'rollback_paused');

/** The rules that the replacement of tasks follows now: those of the rollback while there is one. */
export function updateRules({ updateStatus, specVersion, spec }: Service): Required<UpdateConfig> {
  const isRollback = updateStatus?.specVersion === specVersion && updateStatus.state.startsWith('rollback');
  const { monitorMs, maxFailureRatio, failureAction, ...config } = isRollback
    ? (updateStatus.config ?? DEFAULT_ROLLBACK)
    : spec.update;
  return {
    ...config,
    monitorMs: monitorMs ?? DEFAULT_MONITOR_MS,
    maxFailureRatio: maxFailureRatio ?? 0,
    failureAction: failureAction ?? 'pause',
  };
}

/** Numbers of the slots whose new task failed in the newest update, as far as that is about the present spec. */
export const failedSlots = ({ updateStatus, specVersion }: Service): ReadonlySet<number> =>
  new Set(updateStatus?.specVersion === specVersion ? updateStatus.failed : []);

/**
 * Begins an update, in place of one that may be under way.
 * @param tasks all tasks of the service
 * @returns the service with its status, and the tasks that become tasks of the new spec without being replaced
 */
export function beginUpdate(
  service: Service,
  tasks: readonly Task[],
  { spec, specVersion, adopts }: UpdateTarget,
  now: number,
): { readonly service: Service; readonly adopted: readonly Task[] } {
  const next = { ...service, spec, specVersion };
  const adopted = tasks
    .filter((task) => task.specVersion === adopts && !task.oneOff && isLive(task))
    .map((task) => ({ ...task, specVersion }));
  const slots = slotsOf(tasks);
  const stays = new Set(adopted.map(({ slot }) => slot));
  const total = slotNumbers(next, slots).filter((number) => !stays.has(number)).length;
  const updateStatus: UpdateStatus = {
    state: 'updating',
    startedAt: now,
    completedAt: 0,
    message: 'update in progress',
    specVersion,
    total,
    failed: [],
    slots: [],
    reason: '',
  };
  return { service: { ...next, updateStatus }, adopted };
}

/**
 * Goes back to the spec before the one that failed; the tasks that still have it stay. A rollback that fails is paused:
 * there is nothing to go back to from it.
 */
export function beginRollback(
  service: Service,
  tasks: readonly Task[],
  reason: string,
  now: number,
): { readonly service: Service; readonly adopted: readonly Task[] } | undefined {
  const { previous: before, ...rest } = service;
  if (before === undefined) return undefined;
  const target = { spec: before.spec, specVersion: service.specVersion + 1, adopts: before.specVersion };
  const begun = beginUpdate(rest, tasks, target, now);
  const status = begun.service.updateStatus;
  if (status === undefined) return undefined;
  const updateStatus: UpdateStatus = {
    ...status,
    state: 'rollback_started',
    message: `rolling back: ${reason}`,
    reason,
    config: service.spec.rollback ?? DEFAULT_ROLLBACK,
  };
  const { specVersion } = begun.service;
  const anew = replacesUnseen(compareServiceSpecs(service.spec, before.spec)) ? { recreateBelow: specVersion } : {};
  return { service: { ...begun.service, ...anew, updateStatus }, adopted: begun.adopted };
}

/**
 * Makes an update that has begun a rollback that somebody asked for: by the rules of the version that is left.
 * @param reason "to revision 3"
 */
export function asRollback(begun: Service, left: Service, reason: string): Service {
  const status = begun.updateStatus;
  if (status === undefined) return begun;
  const { rollback, update } = left.spec;
  const { monitorMs } = update;
  const config = rollback ?? { ...DEFAULT_ROLLBACK, ...(monitorMs === undefined ? {} : { monitorMs }) };
  const message = `rolling back: ${reason}`;
  return { ...begun, updateStatus: { ...status, state: 'rollback_started', message, reason, config } };
}

/**
 * Goes on with a paused update: the slots that failed are tried again.
 * @returns the service, and the ended tasks that are no longer held against it (to be forgotten)
 */
export function resumeUpdate(
  service: Service,
  tasks: readonly Task[],
  now: number,
): { readonly service: Service; readonly forgotten: readonly Task[] } {
  const status = service.updateStatus;
  if (status === undefined || !isPaused(service)) return { service, forgotten: [] };
  const failed = new Set(status.failed);
  const slots = slotsOf(tasks);
  const forgotten = [...failed].flatMap((number) =>
    (slots.get(number) ?? []).filter(
      (task) => task.specVersion === service.specVersion && !isLive(task) && task.desiredState !== 'remove',
    ),
  );
  const isRollback = status.state === 'rollback_paused';
  const updateStatus: UpdateStatus = {
    ...status,
    state: isRollback ? 'rollback_started' : 'updating',
    startedAt: now,
    completedAt: 0,
    message: isRollback ? `rolling back: ${status.reason}` : 'update in progress',
    failed: [],
    reason: isRollback ? status.reason : '',
  };
  return { service: { ...service, updateStatus }, forgotten };
}
