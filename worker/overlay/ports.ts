/** Which of a node's ports lead where. Pure. */
import type { PortForward } from '../../node-engine/types.ts';
import type { IngressPort } from '../../proto/types/index.ts';

/** A task of this node with the ports it publishes in host mode. */
export interface HostPorts {
  readonly ipv4: string;
  readonly ports: readonly IngressPort['port'][];
}

/**
 * The node's port table: ingress ports lead to every backend, ports in host mode to the node's own tasks. Several tasks on
 * the same port share it. A port that is not allocated yet (0) is left out.
 */
export function portForwards(ingress: readonly IngressPort[], hostPorts: readonly HostPorts[]): readonly PortForward[] {
  const forwards = new Map<string, PortForward>();
  const add = (port: IngressPort['port'], addresses: readonly string[]): void => {
    if (port.published === 0) return;
    const key = `${port.protocol}/${port.hostIp}/${port.published}`;
    const backends = new Map(
      (forwards.get(key)?.backends ?? []).map((backend) => [`${backend.ipv4}:${backend.port}`, backend]),
    );
    for (const ipv4 of addresses) backends.set(`${ipv4}:${port.target}`, { ipv4, port: port.target });
    const { protocol, hostIp, published } = port;
    forwards.set(key, { protocol, hostIp, port: published, backends: [...backends.values()] });
  };
  for (const { port, backends } of ingress)
    if (port.mode === 'ingress')
      add(
        port,
        backends.map(({ ipv4 }) => ipv4),
      );
  for (const { ipv4, ports } of hostPorts) for (const port of ports) if (port.mode === 'host') add(port, [ipv4]);
  return [...forwards.values()].sort((one, other) => compare(one, other));
}

function compare(one: PortForward, other: PortForward): number {
  return one.port - other.port || one.protocol.localeCompare(other.protocol) || one.hostIp.localeCompare(other.hostIp);
}
