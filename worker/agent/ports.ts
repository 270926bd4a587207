import type { IngressPort, Task } from '../../proto/types/index.ts';
import type { PortForward } from '../../node-engine/types.ts';

/** Key of a published port of the node, in messages and maps. */
export const portKey = (port: {
  readonly protocol: string;
  readonly hostIp: string;
  readonly published: number;
}): string => `${port.protocol}/${port.hostIp}/${port.published}`;

/**
 * The node's port table: ingress ports with the endpoints behind them, and the ports that a task publishes for itself
 * alone while it runs.
 */
export function portForwards(
  ingress: Iterable<IngressPort>,
  tasks: Iterable<Task>,
  isRunning: (task: Task) => boolean,
): readonly PortForward[] {
  const forwards: PortForward[] = [];
  for (const { port, backends } of ingress) {
    forwards.push({
      protocol: port.protocol,
      hostIp: port.hostIp,
      port: port.published,
      backends: backends.map(({ ipv4 }) => ({ ipv4, port: port.target })),
    });
  }
  for (const task of tasks) {
    const ipv4 = task.addresses[0]?.ipv4;
    if (ipv4 === undefined || !isRunning(task)) continue;
    for (const port of task.ports) {
      forwards.push({
        protocol: port.protocol,
        hostIp: port.hostIp,
        port: port.published,
        backends: [{ ipv4, port: port.target }],
      });
    }
  }
  return forwards;
}
