import { TASK_STATES } from '../../proto/types/index.ts';
import { settleChange } from '../model/live-change.ts';
import { NODE_DOWN } from '../model/task-state.ts';
import type { Task, TaskStatus } from '../../proto/types/index.ts';

/** The task with a status that its node reported; undefined when the report is older than what is known. */
export function withStatus(task: Task, reported: TaskStatus): Task | undefined {
  const known = task.status;
  if (TASK_STATES[reported.state] < TASK_STATES[known.state]) return undefined;
  if (reported.state === known.state && JSON.stringify(reported) === JSON.stringify(known)) return undefined;
  // It went down with its machine, which is nothing that a restart policy is about.
  const wentDown = known.message === NODE_DOWN && reported.state === 'failed';
  const status: TaskStatus = wentDown ? { ...reported, state: 'orphaned', message: NODE_DOWN } : reported;
  return settleChange({ ...task, status });
}
