import type { Task } from '../../proto/types/index.ts';
import { isFinal } from './task-state.ts';

/** A run of this length forgives the failures before it (Docker's restart manager: 10 s). */
const FORGIVING_RUN_MS = 10_000;
/** `status.message` of a task that never started because a dependency failed: not the task's own failure. */
export const DEPENDENCY_FAILED = 'dependency failed';

/** Whether the restart policy wants an ended task to be followed by another. */
export function willRestart(task: Task): boolean {
  const { restart } = task.spec;
  if (!isFinal(task) || task.oneOff) return false;
  // It did not end: its node was lost. No policy says that it should not run elsewhere.
  if (task.status.state === 'orphaned') return true;
  if (restart.condition === 'none') return false;
  if (task.status.message === DEPENDENCY_FAILED) return false;
  const { state } = task.status;
  if (state === 'shutdown' || state === 'remove') return false;
  if (restart.condition === 'on-failure' && state === 'complete') return false;
  if (restart.maxAttempts === 0) return true;
  // swarmkit (orchestrator/restart): without a window all restarts of the slot count, with one those of that long before the end.
  if (restart.windowMs === 0) return task.attempt < restart.maxAttempts;
  const lookBack = endedAt(task) - restart.windowMs;
  return (task.restartedAt ?? []).filter((time) => time > lookBack).length < restart.maxAttempts;
}

/** Number of restarts in the slot up to and with the task after this one. */
export const nextAttempt = (task: Task): number => task.attempt + 1;

/** Times of restarts to keep with the task after this one: no more than the restart policy can ask for. */
export function nextRestarts(task: Task, now: number): readonly number[] {
  const { maxAttempts, windowMs } = task.spec.restart;
  return windowMs === 0 || maxAttempts === 0 ? [] : [...(task.restartedAt ?? []), now].slice(-maxAttempts);
}

/** Milliseconds to wait before the next start: the policy's delay, doubled at every failure in a row. */
export function restartDelayMs(task: Task): number {
  // It did not fail: its node did.
  if (task.status.state === 'orphaned') return 0;
  const { delayMs, maxDelayMs } = task.spec.restart;
  const waited = task.restartDelayMs ?? Math.max(0, task.notBefore - task.meta.createdAt);
  if (task.attempt === 0 || waited === 0 || ranMs(task) >= FORGIVING_RUN_MS) return delayMs;
  return Math.min(Math.max(maxDelayMs, delayMs), Math.max(delayMs, waited * 2));
}

/**
 * When a task ended, by the clock that its other times are of: a node's clock may be off, how long something took there is not. What
 * nodes of older versions say is compared as it is.
 */
const endedAt = ({ meta, status }: Task): number =>
  status.ageMs === undefined ? status.timestamp : meta.createdAt + status.ageMs;

function ranMs({ meta, notBefore, status }: Task): number {
  if (status.ageMs !== undefined) return status.ranMs ?? 0;
  return Math.max(0, status.timestamp - Math.max(meta.createdAt, notBefore));
}
