import type { NetworkId, NodeId } from '../../base/ids.ts';
import { driverScope } from '../../base/network-driver.ts';
import type { Network, NetworkEndpoint, ServiceAddress, Task, TaskAddress } from '../../proto/types/index.ts';
import type { LocalTask } from './ports.ts';
import { serves } from './ports.ts';

/** A virtual address on a network, and who answers there. */
export interface BalancedAddress {
  readonly networkId: NetworkId;
  /** IPv4 or IPv6. */
  readonly address: string;
  /** Of the same kind; the same array as before while it is the same. */
  readonly endpoints: readonly string[];
  /** Each container keeps to one of them as long as it is there. */
  readonly affinity: boolean;
}

/** What the node knows of services and their endpoints. */
export interface BalancedView {
  readonly nodeId: NodeId;
  readonly services: Iterable<ServiceAddress>;
  readonly endpoints: Iterable<NetworkEndpoint>;
  readonly networks: ReadonlyMap<string, Network>;
  readonly tasks: Iterable<LocalTask>;
  /** Tasks on other nodes, to which the way is just being made. */
  readonly arriving?: ReadonlySet<string>;
}

/**
 * The virtual addresses that the node's containers use. Of its own tasks the node knows better than the manager, and earlier: one that
 * serves is there before the manager has heard of it, one that is being stopped or has ended is not. What is on another node is
 * not reached over a network that each node has for itself. Who is arriving is left out as long as others are there: who has asked for its address
 * before, of another task, would not ask again, and what is sent there would be lost.
 * @param before what this gave before
 */
export function balancedAddresses(view: BalancedView, before: readonly BalancedAddress[]): readonly BalancedAddress[] {
  const services = [...view.services];
  if (services.length === 0) return [];
  // Looked at once: the engine is asked for each.
  const local = new Map<string, { task: Task; isHere: boolean; addresses: readonly TaskAddress[] }>();
  for (const own of view.tasks)
    local.set(own.task.id, { task: own.task, isHere: own.running && serves(own.status), addresses: own.addresses });
  const found = new Map<string, Map<string, Pick<NetworkEndpoint, 'ipv4' | 'ipv6'>>>();
  const add = (
    serviceId: string,
    networkId: string,
    taskId: string,
    at: Pick<NetworkEndpoint, 'ipv4' | 'ipv6'>,
  ): void => {
    const key = `${serviceId}/${networkId}`;
    const known = found.get(key);
    if (known === undefined) found.set(key, new Map([[taskId, at]]));
    else known.set(taskId, at);
  };
  for (const endpoint of view.endpoints) {
    const { taskId, serviceId, networkId, nodeId } = endpoint;
    const own = local.get(taskId);
    if (own === undefined ? nodeId !== view.nodeId && isLocalOnly(view.networks.get(networkId)) : !own.isHere) continue;
    // It has left the network.
    if (own?.addresses.some((address) => address.networkId === networkId) === false) continue;
    add(serviceId, networkId, taskId, endpoint);
  }
  for (const { task, isHere, addresses } of local.values()) {
    if (task.oneOff || task.desiredState !== 'running' || !isHere) continue;
    for (const address of addresses) add(task.serviceId, address.networkId, task.id, address);
  }
  const known = new Map(before.map((one) => [one.address, one.endpoints]));
  return services.flatMap(({ serviceId, networkId, ipv4, ipv6, affinity }) => {
    const all = [...(found.get(`${serviceId}/${networkId}`) ?? [])];
    const there = all.filter(([taskId]) => view.arriving?.has(taskId) !== true);
    const endpoints = (there.length === 0 ? all : there).map(([, endpoint]) => endpoint);
    const of = (address: string, list: readonly string[]): BalancedAddress => ({
      networkId,
      address,
      endpoints: same(known.get(address), list),
      affinity: affinity === 'client',
    });
    const four = of(
      ipv4,
      endpoints.map((endpoint) => endpoint.ipv4),
    );
    if (ipv6 === undefined) return [four];
    return [
      four,
      of(
        ipv6,
        endpoints.flatMap((endpoint) => endpoint.ipv6 ?? []),
      ),
    ];
  });
}

/** Each node has a network of its own of that name: what is on another node is not reached. */
export const isLocalOnly = (network: Network | undefined): boolean =>
  network !== undefined && driverScope(network.spec.driver) === 'local';

function same(before: readonly string[] | undefined, now: readonly string[]): readonly string[] {
  const sorted = now.toSorted();
  return before !== undefined && before.length === sorted.length && before.every((one, i) => one === sorted[i])
    ? before
    : sorted;
}
