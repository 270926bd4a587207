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
  return restart.maxAttempts === 0 || nextAttempt(task) <= restart.maxAttempts;
}

/** Attempt number of the task after this one; a run longer than the policy's window starts the count anew. */
export function nextAttempt(task: Task): number {
  const { windowMs } = task.spec.restart;
  return windowMs > 0 && ranMs(task) >= windowMs ? 1 : task.attempt + 1;
}

/** Milliseconds to wait before the next start: the policy's delay, doubled at every failure in a row. */
export function restartDelayMs(task: Task): number {
  // It did not fail: its node did.
  if (task.status.state === 'orphaned') return 0;
  const { delayMs, maxDelayMs } = task.spec.restart;
  const waited = Math.max(0, task.notBefore - task.meta.createdAt);
  if (task.attempt === 0 || waited === 0 || ranMs(task) >= FORGIVING_RUN_MS) return delayMs;
  return Math.min(Math.max(maxDelayMs, delayMs), Math.max(delayMs, waited * 2));
}

function ranMs(task: Task): number {
  return Math.max(0, task.status.timestamp - Math.max(task.meta.createdAt, task.notBefore));
}
