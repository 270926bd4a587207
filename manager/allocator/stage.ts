import type { Clock } from '../../base/clock.ts';
import type { Stage } from '../model/stages/stage.ts';
import { allocate } from './allocate.ts';
import { allocateOverlay } from './overlay.ts';
import { RestingSubnets } from './resting.ts';

/** Keeps networks, services, tasks and nodes supplied with subnets, identifiers, ports and addresses. */
export function allocatorStage(clock: Pick<Clock, 'now'>): Stage {
  const resting = new RestingSubnets();
  return {
    name: 'allocator',
    concerns: (table) => table === 'network' || table === 'node' || table === 'service' || table === 'task',
    decide(view) {
      resting.see(view.list('network'), clock.now());
      const found = allocate(
        {
          cluster: view.list('cluster')[0],
          networks: view.list('network'),
          services: view.list('service'),
          tasks: view.list('task'),
          nodes: view.list('node'),
          resting: resting.list(),
        },
        clock.now(),
      );
      const { services, tasks } = found;
      const withSubnets = new Map(found.networks.map((network) => [network.id, network]));
      const all = view.list('network').map((network) => withSubnets.get(network.id) ?? network);
      const overlay = allocateOverlay(all, view.list('node'));
      const networks = new Map([...withSubnets, ...overlay.networks.map((network) => [network.id, network] as const)]);
      if (networks.size + services.length + tasks.length + overlay.nodes.length === 0) return undefined;
      return (tx) => {
        for (const network of networks.values()) tx.update('network', network);
        for (const node of overlay.nodes) tx.update('node', node);
        for (const service of services) tx.update('service', service);
        for (const task of tasks) tx.update('task', task);
      };
    },
  };
}
