import { createHash } from 'node:crypto';
import type { ContainerId, TaskId } from '../../base/ids.ts';

/**
 * The container of a task. It follows from the task's id, so that after a crash at any moment the agent finds what it
 * made, and making it again is the same make.
 */
export function containerIdOf(taskId: TaskId | string): ContainerId {
  return createHash('sha256').update(`tsswarm task ${taskId}`).digest('hex') as ContainerId;
}
