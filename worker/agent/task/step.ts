import { TASK_STATES } from '../../../proto/types/index.ts';
import type { Task, TaskState, TaskStatus } from '../../../proto/types/index.ts';
import type { ContainerInfo } from '../../../node-engine/types.ts';

/** What a step needs to be carried out: action → arguments. The union and the table of executors derive from it. */
export interface StepArguments {
  /** Say a state to the manager; nothing in the kernel changes. */
  readonly report: { readonly state: TaskState; readonly message: string };
  /** Find or fetch the image. */
  readonly prepare: Record<never, never>;
  /** Make bundle, writable layer and sandbox. */
  readonly create: { readonly imageId: string };
  readonly start: Record<never, never>;
  /** Run what shall be run when the container has started. */
  readonly postStart: Record<never, never>;
  /** Make the running container what the task's spec says now. */
  readonly change: Record<never, never>;
  /** Stop and start in place: the writable layer stays. */
  readonly restart: { readonly graceMs: number };
  readonly stop: { readonly graceMs: number };
  /** Stop, because the lease of the node ends: it is not the task that failed. */
  readonly fence: { readonly graceMs: number };
  readonly remove: Record<never, never>;
  /** Nothing to do before `until` (wall time, ms; absent: before the assignment or the container changes). */
  readonly wait: { readonly for: string; readonly until?: number };
}

export type StepName = keyof StepArguments;
export type Step = { readonly [K in StepName]: { readonly action: K } & StepArguments[K] }[StepName];

/** All that a decision about a task depends on. */
export interface TaskObservation {
  readonly task: Task;
  /** What was last said of the task. */
  readonly status: TaskStatus;
  readonly container: ContainerInfo | undefined;
  /** The image as resolved for this task; undefined before `prepare`. */
  readonly imageId: string | undefined;
  /** The container has been started and its post_start hooks have ended well. */
  readonly hooked: boolean;
  /** False: what it publishes is not listened to yet, and it is still waited for. */
  readonly listening: boolean;
  /** Why the container is stopped although it is wanted: it is unhealthy, or a hook failed; empty: it is not. */
  readonly givenUp: string;
  /** Absent: it may run. Else how long it may take to end, ms: the lease that it is tied to is about to run out, or has. */
  readonly fencedMs?: number;
  /** False: it is tied to a lease, and what was last heard of a manager may be out of date. */
  readonly mayStart: boolean;
  /** False: what a changed container needs is not all known yet. */
  readonly mayChange: boolean;
  /** The container whose network it shares may have other addresses than when it was made, or changed. */
  readonly isStale?: boolean;
  /** It was ended with the lease. */
  readonly wasFenced: boolean;
  /** Wall time of this node, ms. */
  readonly now: number;
  /** Before this time of this node it is not started: {@link earliestStart}. */
  readonly startAt: number;
}

/** Whether what was said of a task is at or beyond a state. */
export const reached = (status: TaskStatus, state: TaskState): boolean =>
  TASK_STATES[status.state] >= TASK_STATES[state];

/** `status.message` of a task that was ended with the lease of its node. */
export const FENCED = 'stopped: its node heard of no manager, and it may run elsewhere';

/**
 * When a task may be started, by this node's clock. The managers say it by theirs, which may differ by up to an hour: what counts is
 * how long they want to have waited since they made the task.
 * @param seenAt when this node was given it, wall time of this node, ms
 */
export const earliestStart = ({ notBefore, meta }: Task, seenAt: number): number =>
  seenAt + Math.max(0, notBefore - meta.createdAt);

/** Whether a task in this state never runs again. */
export const isFinal = (state: TaskState): boolean => TASK_STATES[state] >= TASK_STATES.complete;

/**
 * The one next step that brings a task nearer to what is wanted, from what is. Called again after every step and every
 * change; a crash between two steps loses nothing, because nothing is remembered but the last report.
 */
export function nextStep(seen: TaskObservation): Step {
  const { task, status, container } = seen;
  if (container?.state === 'running' && task.draining === true && seen.givenUp === '' && seen.fencedMs === undefined) {
    return { action: 'wait', for: 'the other nodes to lead nobody to it any more' };
  }
  if (task.desiredState === 'remove') return removing(seen);
  // What the managers take for ended has ended, whatever a daemon that died just then has left on the disk.
  const over = [status.state, task.status.state].find(isFinal);
  if (over !== undefined) {
    return container?.state === 'running'
      ? { action: 'stop', graceMs: graceOf(task) }
      : { action: 'wait', for: `${over}: nothing more to do` };
  }
  if (task.desiredState === 'shutdown') {
    if (container?.state === 'running') return { action: 'stop', graceMs: graceOf(task) };
    return { action: 'report', state: 'shutdown', message: 'stopped' };
  }
  if (container?.state === 'exited' && container.exit !== undefined) return ended(seen, container.exit.code);
  if (container?.state === 'running') return running(seen);
  if (!reached(status, 'accepted')) return { action: 'report', state: 'accepted', message: 'accepted' };
  if (container === undefined) {
    if (!reached(status, 'preparing')) return { action: 'report', state: 'preparing', message: 'preparing' };
    return seen.imageId === undefined ? { action: 'prepare' } : { action: 'create', imageId: seen.imageId };
  }
  if (!reached(status, 'ready')) return { action: 'report', state: 'ready', message: 'prepared' };
  if (task.desiredState === 'ready') return { action: 'wait', for: 'the manager to let it run' };
  if (seen.startAt > seen.now) return { action: 'wait', for: 'the restart delay', until: seen.startAt };
  if (!seen.mayStart) return { action: 'wait', for: 'a manager to let it run' };
  if (!reached(status, 'starting')) return { action: 'report', state: 'starting', message: 'starting' };
  return { action: 'start' };
}

/** A task whose container runs. */
function running(seen: TaskObservation): Step {
  const { task, status, container, givenUp, hooked, listening, fencedMs, mayChange, isStale } = seen;
  if (fencedMs !== undefined) return { action: 'fence', graceMs: Math.min(fencedMs, graceOf(task)) };
  if (givenUp !== '') return { action: 'stop', graceMs: graceOf(task) };
  if (mayChange && (isStale === true || isOutdated(container, task, status))) return { action: 'change' };
  if (task.restartCount > status.restartCount) return { action: 'restart', graceMs: graceOf(task) };
  if (!reached(status, 'running')) {
    const waits = !hooked && (task.spec.container.postStart ?? []).length > 0;
    if (waits) return { action: 'postStart' };
    if (!listening) return { action: 'wait', for: 'its published ports to be listened to' };
    return { action: 'report', state: 'running', message: 'started' };
  }
  return { action: 'wait', for: 'the container to end' };
}

/** The container has another spec than the task, and nobody knows yet that it cannot be changed, or the manager does not know that it was. */
function isOutdated(container: ContainerInfo | undefined, task: Task, status: TaskStatus): boolean {
  if (status.refused?.specVersion === task.specVersion) return false;
  return container?.specVersion !== task.specVersion || status.applied?.specVersion !== task.specVersion;
}

/** A task whose container has ended by itself. */
function ended({ task, status, givenUp, wasFenced, mayStart }: TaskObservation, code: number): Step {
  if (wasFenced) return { action: 'report', state: 'orphaned', message: FENCED };
  // A restart in place that was interrupted between its stop and its start is finished, not taken for an exit.
  if (task.restartCount > status.restartCount && reached(status, 'running')) {
    return mayStart
      ? { action: 'restart', graceMs: graceOf(task) }
      : { action: 'wait', for: 'a manager to let it run' };
  }
  if (givenUp !== '') return { action: 'report', state: 'failed', message: givenUp };
  return code === 0
    ? { action: 'report', state: 'complete', message: 'finished' }
    : { action: 'report', state: 'failed', message: `exited (${code})` };
}

function removing({ task, status, container }: TaskObservation): Step {
  if (container?.state === 'running') return { action: 'stop', graceMs: graceOf(task) };
  if (container !== undefined) return { action: 'remove' };
  if (status.state !== 'remove') return { action: 'report', state: 'remove', message: 'removed' };
  return { action: 'wait', for: 'the manager to forget it' };
}

function graceOf(task: Task): number {
  return task.graceOverrideMs >= 0 ? task.graceOverrideMs : task.spec.container.stopGraceMs;
}
