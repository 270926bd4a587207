import type { ContainerInfo, ExitStatus } from '../../../node-engine/types.ts';
import type { Task, TaskStatus } from '../../../proto/types/index.ts';

/** How a run ended, and how long it took by this machine's clock. */
export const lastRun = ({ startedAt }: ContainerInfo, { code, oomKilled, at }: ExitStatus): Partial<TaskStatus> => ({
  exitCode: code,
  oomKilled,
  ...(startedAt === 0 ? {} : { ranMs: Math.max(0, Math.round(at - startedAt)) }),
});

/** One line on why a task is over, with the real cause; empty where there is nothing to complain of. */
export function endReason(state: string, oomKilled: boolean, task: Task, status: TaskStatus, givenUp: string): string {
  if (state === 'shutdown' || state === 'remove') return status.error;
  if (oomKilled) {
    const limit = task.spec.limits.memoryBytes;
    return `killed: out of memory${limit === undefined ? '' : ` (limit ${Math.round(limit / 1024 / 1024)} MiB)`}`;
  }
  if (state !== 'failed') return '';
  if (givenUp !== '' && givenUp !== 'unhealthy') return givenUp;
  return status.health === 'unhealthy' ? status.message : 'task: non-zero exit';
}
