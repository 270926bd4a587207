import type { NetworkId, NodeId } from '../../base/ids.ts';
import { portAddress } from '../../base/network-driver.ts';
import type {
  IngressPort,
  Network,
  OverlayPeer,
  PublishedPort,
  Task,
  TaskAddress,
  TaskStatus,
} from '../../proto/types/index.ts';
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
  const handed = handedOver(ports);
  for (const { port, backends, serviceId, affinity } of ports) {
    const here = new Set<string>();
    const elsewhere: Backend[] = [];
    for (const { taskId, ipv4, nodeId: at } of backends) {
      const own = local.get(taskId);
      if (own !== undefined ? own.running && serves(own.status) : at === nodeId || at === undefined) here.add(ipv4);
      const mesh = own === undefined && at !== nodeId ? peers.get(at ?? '')?.meshAddress : undefined;
      if (mesh !== undefined && handed.get(meshKey(port)) === port)
        elsewhere.push({ ipv4: mesh, port: port.published });
    }
    for (const { task, status, running, addresses } of local.values()) {
      const isBackend = task.serviceId === serviceId && !task.oneOff && task.desiredState === 'running';
      const ipv4 = portAddress({ ...task, addresses }, driverOf);
      if (isBackend && running && serves(status) && ipv4 !== undefined) here.add(ipv4);
    }
    const own = [...here].map((ipv4) => ({ ipv4, port: port.target }));
    forwards.set(portKey(port), {
      protocol: port.protocol,
      hostIp: port.hostIp,
      port: port.published,
      backends: [...own, ...elsewhere],
      ...(handed.get(meshKey(port)) === port && peers.size > 0 ? { meshBackends: own } : {}),
      ...(affinity === undefined ? {} : { affinity }),
    });
  }
  for (const { task, running, addresses } of local.values()) {
    const ipv4 = portAddress({ ...task, addresses }, driverOf);
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

const meshKey = ({ protocol, published }: PublishedPort): string => `${protocol}/${published}`;

/**
 * The ports that nodes hand to each other: the mesh knows a port by its number alone, so of several on different addresses it is
 * the same one for all nodes.
 */
function handedOver(ports: readonly IngressPort[]): ReadonlyMap<string, PublishedPort> {
  const first = new Map<string, PublishedPort>();
  for (const { port } of ports) {
    const known = first.get(meshKey(port));
    if (known === undefined || port.hostIp < known.hostIp) first.set(meshKey(port), port);
  }
  return first;
}
