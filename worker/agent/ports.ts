import type { NetworkId, NodeId } from '../../base/ids.ts';
import { meshIpv6 } from '../../base/mesh-address.ts';
import { portAddress } from '../../base/network-driver.ts';
import type { IngressPort, Network, OverlayPeer, Task, TaskAddress, TaskStatus } from '../../proto/types/index.ts';
import type { PortForward, PortNode } from '../../node-engine/types.ts';

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
  /** Those of the task's addresses that its container has: when its networks are changed, not all at every moment. */
  readonly addresses: readonly TaskAddress[];
}

/** Running, and healthy where it has a check: fit to receive requests. */
export const serves = ({ state, health }: Pick<TaskStatus, 'state' | 'health'>): boolean =>
  state === 'running' && (health === 'none' || health === 'healthy');

/** What a node knows when it makes its port table. */
export interface PortView {
  readonly nodeId: NodeId;
  readonly ingress: Iterable<IngressPort>;
  readonly tasks: Iterable<LocalTask>;
  /** Other nodes: their ports are reached at their addresses in the mesh. */
  readonly peers: ReadonlyMap<string, OverlayPeer>;
  readonly networks: ReadonlyMap<string, Network>;
}

type Backend = PortForward['backends'][number];

/**
 * The node's port table: ingress ports with the endpoints behind them, and the ports that a task publishes for itself
 * alone while it runs. Of its own tasks the node knows better than the manager, and earlier: one that serves is added before
 * the manager has heard of it (whoever reads "healthy" finds the port open), one that has ended is left out. What another node
 * has is handed to it by the mesh, to the same port, as often as it has endpoints there; it leads that to its own.
 */
export function portForwards({ nodeId, ingress, tasks, peers, networks }: PortView): readonly PortForward[] {
  const driverOf = (id: NetworkId): string | undefined => networks.get(id)?.spec.driver;
  const local = new Map<string, LocalTask>();
  for (const own of tasks) local.set(own.task.id, own);
  const forwards = new Map<string, PortForward>();
  const ports = [...ingress];
  const mesh = meshPorts(ports);
  for (const { port, backends, serviceId, affinity } of ports) {
    const meshPort = mesh.get(portKey(port)) ?? port.published;
    const here = new Map<string, string | undefined>();
    const elsewhere: Backend[] = [];
    for (const { taskId, ipv4, ipv6, nodeId: at } of backends) {
      const own = local.get(taskId);
      if (own !== undefined ? own.running && serves(own.status) : at === nodeId || at === undefined)
        here.set(ipv4, ipv6);
      const far = own === undefined && at !== nodeId ? peers.get(at ?? '')?.meshAddress : undefined;
      if (far !== undefined) elsewhere.push(backendOf(far, ipv6 && meshIpv6(far), meshPort));
    }
    for (const { task, status, running, addresses } of local.values()) {
      const isBackend = task.serviceId === serviceId && !task.oneOff && task.desiredState === 'running';
      const address = portAddress({ ...task, addresses }, driverOf);
      if (isBackend && running && serves(status) && address !== undefined) here.set(address.ipv4, address.ipv6);
    }
    const own = [...here].map(([ipv4, ipv6]) => backendOf(ipv4, ipv6, port.target));
    forwards.set(portKey(port), {
      protocol: port.protocol,
      hostIp: port.hostIp,
      port: port.published,
      backends: [...own, ...elsewhere],
      ...(peers.size > 0 ? { meshBackends: own } : {}),
      ...(meshPort === port.published ? {} : { meshPort }),
      ...(port.source === 'keep' ? { keepsSource: true } : {}),
      ...(affinity === undefined ? {} : { affinity }),
    });
  }
  for (const { task, running, addresses } of local.values()) {
    const address = portAddress({ ...task, addresses }, driverOf);
    if (address === undefined || !running) continue;
    for (const port of task.ports) {
      // The first that has a port keeps it.
      if (forwards.has(portKey(port))) continue;
      forwards.set(portKey(port), {
        protocol: port.protocol,
        hostIp: port.hostIp,
        port: port.published,
        backends: [backendOf(address.ipv4, address.ipv6, port.target)],
      });
    }
  }
  return [...forwards.values()];
}

const backendOf = (ipv4: string, ipv6: string | undefined, port: number): Backend => ({
  ipv4,
  ...(ipv6 === undefined ? {} : { ipv6 }),
  port,
});

/** Where a port is handed over whose own number is taken there: the numbers that the kernel gives to those who call. */
const FIRST_SPARE = 32_768;
const SPARE = 28_232;

/**
 * The numbers by which nodes hand ports to each other: the mesh knows a port by its number alone. Of several on different addresses the first
 * in the order of their addresses has its own, the others one that follows from their names: so all nodes find the same, whatever else is published.
 */
function meshPorts(ports: readonly IngressPort[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const taken = new Set<string>();
  const keys = ports.map(({ port }) => ({ port, key: portKey(port) })).sort((a, b) => (a.key < b.key ? -1 : 1));
  const others: typeof keys = [];
  for (const one of keys) {
    const own = `${one.port.protocol}/${one.port.published}`;
    if (taken.has(own)) others.push(one);
    else found.set(one.key, one.port.published);
    taken.add(own);
  }
  for (const { port, key } of others) {
    let offset = hash(key) % SPARE;
    while (taken.has(`${port.protocol}/${FIRST_SPARE + offset}`)) offset = (offset + 1) % SPARE;
    taken.add(`${port.protocol}/${FIRST_SPARE + offset}`);
    found.set(key, FIRST_SPARE + offset);
  }
  return found;
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** The other nodes that ports are handed to, in a fixed order. */
export function portNodes(nodeId: NodeId, peers: ReadonlyMap<string, OverlayPeer>): readonly PortNode[] {
  return [...peers.values()]
    .flatMap(({ nodeId: id, meshAddress, overlay }) =>
      id === nodeId || meshAddress === undefined
        ? []
        : [{ meshAddress, addresses: [...new Set([overlay.address, ...(overlay.addresses ?? [])])].sort() }],
    )
    .sort((a, b) => (a.meshAddress < b.meshAddress ? -1 : 1));
}
