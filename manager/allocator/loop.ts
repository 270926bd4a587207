import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { runLevelTriggered } from '../model/level-triggered/loop.ts';
import type { ReadTransaction, Store } from '../store/types.ts';
import type { Allocation } from './allocate.ts';
import { allocate } from './allocate.ts';

export interface AllocatorOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Keeps networks, services and tasks supplied with subnets, ports and addresses, until `signal` aborts. */
export function runAllocator({ store, clock, logger }: AllocatorOptions, signal: AbortSignal): Promise<void> {
  const decide = (tx: ReadTransaction): Allocation =>
    allocate(
      {
        cluster: tx.list('cluster')[0],
        networks: tx.list('network'),
        services: tx.list('service'),
        tasks: tx.list('task'),
      },
      clock.now(),
    );
  return runLevelTriggered({
    store,
    clock,
    logger: logger.child({ component: 'allocator' }),
    signal,
    concerns: (table) => table === 'network' || table === 'service' || table === 'task',
    turn: async () => {
      const { networks, services, tasks } = store.view(decide);
      if (networks.length + services.length + tasks.length === 0) return false;
      await store.update((tx) => {
        const change = decide(tx);
        for (const network of change.networks) tx.update('network', network);
        for (const service of change.services) tx.update('service', service);
        for (const task of change.tasks) tx.update('task', task);
      });
      return true;
    },
  });
}
