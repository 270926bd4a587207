import { createHash } from 'node:crypto';
import type { ContainerId, TaskId } from '../../base/ids.ts';
import { isFitForHostname } from '../../base/ids.ts';

/**
 * The container of a task. It follows from the task's id, so that after a crash at any moment the agent finds what it
 * made, and making it again is the same make. A hash that no container may have as its id is hashed again.
 */
export function containerIdOf(taskId: TaskId | string): ContainerId {
  let id = digest(`tsswarm task ${taskId}`);
  while (!isFitForHostname(id)) id = digest(id);
  return id as ContainerId;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
