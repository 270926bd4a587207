import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/async.ts';
import type { Task } from '../../proto/types/index.ts';
import { runLevelTriggered } from '../model/level-triggered/loop.ts';
import type { ReadTransaction, Store } from '../store/types.ts';
import type { Leases } from '../model/lease.ts';
import { drainedTasks } from './drained-tasks.ts';
import type { ConstraintMatch } from './elsewhere.ts';
import type { ManagerGroup } from './group.ts';
import { lostTasks } from './lost-tasks.ts';

const LOOK_EVERY_MS = 250;
/** Tasks in one transaction, each with its whole spec: a transaction is limited in size, and a long one holds up the heartbeats. */
const MOST_AT_ONCE = 1000;

export interface ClusterLoopOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeLoopOptions extends ClusterLoopOptions {
  /** Tells when a node that is not heard of runs nothing any more that may be written elsewhere. */
  readonly leases: Pick<Leases, 'isOver'>;
  readonly matches: ConstraintMatch;
}

/**
 * Gives up the tasks of nodes that were removed, or are down with a lease that is over, where others could take them, and ends
 * those of nodes that are drained: the orchestrator makes new ones then. Runs on the leader until `signal` aborts.
 */
export async function runNodeLoop(options: NodeLoopOptions, signal: AbortSignal): Promise<void> {
  const { store, clock, logger: parent, leases, matches } = options;
  const logger = parent.child({ component: 'nodes' });
  while (!signal.aborted) {
    await sleep(clock, LOOK_EVERY_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    const nodes = store.view((tx) => tx.list('node'));
    const now = clock.monotonic();
    const isOver = (id: string): boolean => leases.isOver(id as NodeId, now);
    const lost = new Set<string>(
      nodes.filter(({ id, status }) => status.state === 'down' && isOver(id)).map(({ id }) => id),
    );
    try {
      const leaving = (tx: ReadTransaction): readonly Task[] => [
        ...lostTasks(tx, { lost, isOver, matches }, clock.now()),
        ...drainedTasks(tx, lost),
      ];
      if (store.view(leaving).length === 0) continue;
      await store.update((tx) => {
        for (const task of leaving(tx).slice(0, MOST_AT_ONCE)) {
          logger.warn('task leaves its node', { taskId: task.id, nodeId: task.nodeId, reason: task.status.message });
          tx.update('task', task);
        }
      });
    } catch (error) {
      if (!signal.aborted) logger.warn('tasks of lost nodes', { reason: messageOf(error) });
    }
  }
}

/** Takes out of the group whoever is no manager any more. Runs on the leader until `signal` aborts. */
export function runRoleLoop(
  { store, clock, logger: parent, group }: ClusterLoopOptions & { readonly group: ManagerGroup },
  signal: AbortSignal,
): Promise<void> {
  const logger = parent.child({ component: 'roles' });
  return runLevelTriggered({
    store,
    clock,
    logger,
    signal,
    concerns: (table) => table === 'node',
    turn: async () => {
      // A manager that begins a cluster leads before it has written down that it is one.
      if (store.view((tx) => tx.list('cluster').length === 0)) return false;
      const { members, leaderId } = group.status();
      const managers = new Set([...members.map(({ id }) => id), leaderId].filter((id) => id !== ''));
      for (const id of managers as Set<NodeId>) {
        if (store.view((tx) => tx.get('node', id))?.spec.role === 'manager') continue;
        // It cannot take itself out and still see that through: another one leads first.
        if (id === leaderId) {
          await group.handOver();
          return false;
        }
        logger.info('taking out a manager that is none any more', { nodeId: id });
        await group.remove(id, signal);
      }
      return false;
    },
  });
}
