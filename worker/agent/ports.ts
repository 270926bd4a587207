import type { IngressPort, Task, TaskStatus } from '../../proto/types/index.ts';
import type { PortForward } from '../../node-engine/types.ts';

/** Key of a published port of the node, in messages and maps. */
export const portKey = (port: {
  readonly protocol: string;
  readonly hostIp: string;
  readonly published: number;
}): string => `${port.protocol}/${port.hostIp}/${port.published}`;

/** A task of this node, as its controller knows it. */
export interface LocalTask {
  readonly task: Task;
  readonly status: TaskStatus;
  /** Its container runs, and is not about to be stopped. */
  readonly running: boolean;
}

/** Running, and healthy where it has a check: fit to receive requests. */
export const serves = ({ state, health }: Pick<TaskStatus, 'state' | 'health'>): boolean =>
  state === 'running' && (health === 'none' || health === 'healthy');

/**
 * The node's port table: ingress ports with the endpoints behind them, and the ports that a task publishes for itself
 * alone while it runs. Of its own tasks the node knows better than the manager, and earlier: one that serves is added before
 * the manager has heard of it (whoever reads "healthy" finds the port open), one that has ended is left out.
 */
export function portForwards(ingress: Iterable<IngressPort>, tasks: Iterable<LocalTask>): readonly PortForward[] {
  const local = new Map<string, LocalTask>();
  for (const own of tasks) local.set(own.task.id, own);
  const forwards = new Map<string, PortForward>();
  for (const { port, backends, serviceId } of ingress) {
    const addresses = new Set<string>();
    for (const { taskId, ipv4 } of backends) {
      const own = local.get(taskId);
      if (own === undefined || (own.running && serves(own.status))) addresses.add(ipv4);
    }
    for (const { task, status, running } of local.values()) {
      const isBackend = task.serviceId === serviceId && !task.oneOff && task.desiredState === 'running';
      const ipv4 = task.addresses[0]?.ipv4;
      if (isBackend && running && serves(status) && ipv4 !== undefined) addresses.add(ipv4);
    }
    forwards.set(portKey(port), {
      protocol: port.protocol,
      hostIp: port.hostIp,
      port: port.published,
      backends: [...addresses].map((ipv4) => ({ ipv4, port: port.target })),
    });
  }
  for (const { task, running } of local.values()) {
    const ipv4 = task.addresses[0]?.ipv4;
    if (ipv4 === undefined || !running) continue;
    for (const port of task.ports) {
      // The first that has a port keeps it.
      if (forwards.has(portKey(port))) continue;
      forwards.set(portKey(port), {
        protocol: port.protocol,
        hostIp: port.hostIp,
        port: port.published,
        backends: [{ ipv4, port: port.target }],
      });
    }
  }
  return [...forwards.values()];
}
