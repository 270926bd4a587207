import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Node, Task } from '../../../proto/types/index.ts';
import { isFinal, mayRun } from '../../model/task-state.ts';
import type { ReadTransaction, Store } from '../../store/types.ts';

/** Beyond the longest grace of its tasks: for the order to stop, and the report that it was obeyed. */
const REPORT_MS = 5_000;

/**
 * Drains a node that is about to leave, and waits until nothing of it runs any more: each of its tasks has ended in order before another
 * one is made elsewhere, and no lease has to run out for it. A node that is not there is not waited for.
 * @returns what takes the drain back, for a node that does not leave after all
 * @throws the signal's reason
 */
export async function emptyNode(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  nodeId: NodeId,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const setAvailability = (availability: Node['spec']['availability']): Promise<void> =>
    store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (node !== undefined && node.spec.availability !== availability)
        tx.update('node', { ...node, spec: { ...node.spec, availability } });
    });
  const before = store.view((tx) => tx.get('node', nodeId));
  if (before?.status.state !== 'ready') return () => Promise.resolve();
  const restore = (): Promise<void> => setAvailability(before.spec.availability);
  await setAvailability('drain');
  try {
    await ended(store, clock, nodeId, signal);
    signal.throwIfAborted();
  } catch (error) {
    await restore().catch(() => undefined);
    throw error;
  }
  return restore;
}

/** Resolves when the node's tasks have ended, or should have, or when it is lost. */
async function ended(store: Store, clock: Clock, nodeId: NodeId, signal: AbortSignal): Promise<void> {
  const living = (tx: ReadTransaction): readonly Task[] => tx.find('task', 'node', nodeId).filter(mayRun);
  const isOver = (): boolean =>
    store.view((tx) => tx.get('node', nodeId)?.status.state !== 'ready' || living(tx).length === 0);
  const graces = store.view(living).map(graceOf);
  let isLate = false;
  while (!isLate && !signal.aborted && !isOver()) {
    const { watch } = store.viewAndWatch(() => undefined);
    const close = (): void => watch.close();
    const timer = clock.startTimer(Math.max(...graces, 0) + REPORT_MS, () => {
      isLate = true;
      close();
    });
    signal.addEventListener('abort', close, { once: true });
    try {
      if (!isOver()) for await (const _ of watch) if (isOver()) break;
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', close);
      close();
    }
  }
}

const graceOf = (task: Task): number =>
  isFinal(task) ? 0 : task.graceOverrideMs >= 0 ? task.graceOverrideMs : task.spec.container.stopGraceMs;
