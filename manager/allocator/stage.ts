import type { Clock } from '../../base/clock.ts';
import type { Stage } from '../model/stages/stage.ts';
import { allocate } from './allocate.ts';

/** Keeps networks, services and tasks supplied with subnets, ports and addresses. */
export function allocatorStage(clock: Pick<Clock, 'now'>): Stage {
  return {
    name: 'allocator',
    concerns: (table) => table === 'network' || table === 'service' || table === 'task',
    decide(view) {
      const { networks, services, tasks } = allocate(
        {
          cluster: view.list('cluster')[0],
          networks: view.list('network'),
          services: view.list('service'),
          tasks: view.list('task'),
          nodes: view.list('node'),
        },
        clock.now(),
      );
      if (networks.length + services.length + tasks.length === 0) return undefined;
      return (tx) => {
        for (const network of networks) tx.update('network', network);
        for (const service of services) tx.update('service', service);
        for (const task of tasks) tx.update('task', task);
      };
    },
  };
}
