import { TASK_STATES } from '../../proto/types/index.ts';
import type { Task, TaskState } from '../../proto/types/index.ts';

/** `status.message` of a task whose node is lost. */
export const NODE_DOWN = 'its node is down';

/** Whether `state` is at or beyond `other` in the one order that task states have. */
export const reached = (state: TaskState, other: TaskState): boolean => TASK_STATES[state] >= TASK_STATES[other];

/** The task has ended and will never run again. */
export const isFinal = (task: Task): boolean => reached(task.status.state, 'complete');

/** The task is wanted and has not ended. */
export const isLive = (task: Task): boolean =>
  (task.desiredState === 'running' || task.desiredState === 'ready') && !isFinal(task);

/** A container of the task may be running on its node. */
export const mayRun = (task: Task): boolean => task.nodeId !== '' && !isFinal(task);

/** Running, and healthy where it has a check: fit to receive requests. */
export const isServing = (task: Task): boolean =>
  task.status.state === 'running' && (task.status.health === 'none' || task.status.health === 'healthy');
