import type { Clock, Timer } from '../../base/clock.ts';
import type { TaskId } from '../../base/ids.ts';
import type { Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { Store } from '../store/types.ts';

/** How long something is waited for, ms. */
export interface TaskPatience {
  /** For a task that is not known (yet). */
  readonly newsMs: number;
  /** For a node to be found for it. */
  readonly placeMs: number;
}

/**
 * The task as soon as it is on a node, or will be on none any more (it was rejected, or has ended before); when patience is over, as it
 * is.
 * @returns undefined: there is no such task, or none any more
 * @throws the signal's reason
 */
export async function untilTask(
  store: Store,
  clock: Clock,
  taskId: TaskId,
  { newsMs, placeMs }: TaskPatience,
  signal: AbortSignal,
): Promise<Task | undefined> {
  const settled = (one: Task | undefined): boolean => one !== undefined && (one.nodeId !== '' || isFinal(one));
  const { result, watch } = store.viewAndWatch((tx) => tx.get('task', taskId));
  let task = result;
  const close = (): void => watch.close();
  const patience = (ms: number): Timer | undefined => (Number.isFinite(ms) ? clock.startTimer(ms, close) : undefined);
  let timer = settled(task) ? undefined : patience(task === undefined ? newsMs : placeMs);
  signal.addEventListener('abort', close, { once: true });
  try {
    if (!settled(task) && !signal.aborted) {
      for await (const { changes } of watch) {
        if (!changes.some(({ table, id }) => table === 'task' && id === taskId)) continue;
        const known = task !== undefined;
        task = store.view((tx) => tx.get('task', taskId));
        if (settled(task) || (known && task === undefined)) break;
        if (known) continue;
        timer?.cancel();
        timer = patience(placeMs);
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
