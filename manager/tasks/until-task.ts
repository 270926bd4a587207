import type { Clock } from '../../base/clock.ts';
import type { TaskId } from '../../base/ids.ts';
import type { Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { Store } from '../store/types.ts';

/**
 * The task as soon as it is on a node, or will be on none any more (it was rejected, or has ended before).
 * @param patienceMs what is known is given then
 * @returns undefined: there is no such task
 * @throws the signal's reason
 */
export async function untilTask(
  store: Store,
  clock: Clock,
  taskId: TaskId,
  patienceMs: number,
  signal: AbortSignal,
): Promise<Task | undefined> {
  const settled = (task: Task | undefined): boolean => task !== undefined && (task.nodeId !== '' || isFinal(task));
  const known = store.view((tx) => tx.get('task', taskId));
  if (settled(known)) return known;
  const { result, watch } = store.viewAndWatch((tx) => tx.get('task', taskId));
  let task = result;
  const close = (): void => watch.close();
  const timer = Number.isFinite(patienceMs) ? clock.startTimer(patienceMs, close) : undefined;
  signal.addEventListener('abort', close, { once: true });
  try {
    if (!settled(task)) {
      for await (const { changes } of watch) {
        if (!changes.some(({ table }) => table === 'task')) continue;
        task = store.view((tx) => tx.get('task', taskId));
        if (settled(task)) break;
      }
    }
    signal.throwIfAborted();
    return task;
  } finally {
    timer?.cancel();
    signal.removeEventListener('abort', close);
    watch.close();
  }
}
