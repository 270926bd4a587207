import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/async.ts';
import { runLevelTriggered } from '../model/level-triggered/loop.ts';
import type { Raft } from '../raft/types.ts';
import type { Store } from '../store/types.ts';
import { lostTasks } from './lost-tasks.ts';

/** A node that restarts is back by then, and its containers have run on; Swarm waits for three heartbeats too. */
const LOST_AFTER_MS = 15_000;
const LOOK_EVERY_MS = 1_000;

export interface ClusterLoopOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Gives up the tasks of nodes that were removed, or have been down for a while and others could take over: the orchestrator
 * makes new ones then. Runs on the leader until `signal` aborts.
 */
export async function runNodeLoop({ store, clock, logger: parent }: ClusterLoopOptions, signal: AbortSignal) {
  const logger = parent.child({ component: 'nodes' });
  const downSince = new Map<NodeId, number>();
  while (!signal.aborted) {
    await sleep(clock, LOOK_EVERY_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    const nodes = store.view((tx) => tx.list('node'));
    const now = clock.monotonic();
    for (const { id, status } of nodes) {
      if (status.state !== 'down') downSince.delete(id);
      else if (!downSince.has(id)) downSince.set(id, now);
    }
    const lost = new Set<string>([...downSince].flatMap(([id, since]) => (now - since >= LOST_AFTER_MS ? [id] : [])));
    try {
      if (store.view((tx) => lostTasks(tx, lost, clock.now())).length === 0) continue;
      await store.update((tx) => {
        for (const task of lostTasks(tx, lost, clock.now())) {
          logger.warn('task lost with its node', { taskId: task.id, nodeId: task.nodeId });
          tx.update('task', task);
        }
      });
    } catch (error) {
      if (!signal.aborted) logger.warn('tasks of lost nodes', { reason: messageOf(error) });
    }
  }
}

/** Takes out of Raft whoever is no manager any more. Runs on the leader until `signal` aborts. */
export function runRoleLoop(
  { store, clock, logger: parent, raft }: ClusterLoopOptions & { readonly raft: Raft },
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
      const { servers, leaderId } = raft.status();
      const demoted = servers.filter(({ id }) =>
        store.view((tx) => tx.get('node', id as NodeId)?.spec.role !== 'manager'),
      );
      for (const { id } of demoted) {
        // It cannot vote itself out and still see that through: another one leads first.
        if (id === leaderId) {
          await raft.transferLeadership();
          return false;
        }
        logger.info('taking a manager out of Raft', { nodeId: id });
        await raft.removeServer(id);
      }
      return false;
    },
  });
}
