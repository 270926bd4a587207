import type { NetworkId, ServiceId } from '../../base/ids.ts';
import { isDirect } from '../../base/network-driver.ts';
import type { Network, Service, Task, VirtualIp } from '../../proto/types/index.ts';
import { heldAddresses } from '../model/task-addresses.ts';
import { tasksByService } from '../model/slots.ts';
import { isFinal } from '../model/task-state.ts';
import { contains, formatAddress, parseAddress, parseSubnet, readAddress } from './ipv4.ts';
import type { Subnet } from './ipv4.ts';

/** Part of a network's addresses that is left for tasks of services that nobody has thought of yet. */
const SPARE = 8;

/** What the virtual addresses follow from. */
export interface VirtualIpView {
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  /** As they will be: with their subnets. */
  readonly networks: readonly Network[];
}

/**
 * One address for each service and network that it is on, for services whose name leads to one. An address is kept as long as the
 * service is on the network; it yields only to one that a user has fixed. They are taken from the end of the network's range, tasks' from the
 * beginning; where the range is too small for both, tasks come first and the service has none: its name leads to its tasks.
 * @returns the services whose addresses differ from those that they have
 */
export function allocateVirtualIps({
  services,
  tasks,
  networks,
}: VirtualIpView): ReadonlyMap<ServiceId, readonly VirtualIp[]> {
  const tasksOf = tasksByService(tasks);
  const ranges = new Map(
    networks.filter(isReady).map((network) => [network.id, new Range(network, services, tasks, tasksOf)]),
  );
  const idOf = new Map(networks.map((network) => [network.spec.name, network.id]));
  const wanted = new Map(
    services.map((service) => [service.id, networksOf(service, idOf, tasksOf.get(service.id) ?? [])]),
  );
  const kept = new Map(
    services.map((service) => [
      service.id,
      service.pendingDelete
        ? service.virtualIps
        : service.virtualIps.filter(
            ({ networkId, ipv4 }) =>
              wanted.get(service.id)?.has(networkId) === true && ranges.get(networkId)?.keep(ipv4) === true,
          ),
    ]),
  );
  const changed = new Map<ServiceId, readonly VirtualIp[]>();
  for (const service of services) {
    if (service.pendingDelete) continue;
    const old = kept.get(service.id) ?? [];
    const missing = [...(wanted.get(service.id) ?? [])].filter((id) => !old.some(({ networkId }) => networkId === id));
    const come = missing.flatMap((networkId) => {
      const ipv4 = ranges.get(networkId)?.take();
      return ipv4 === undefined ? [] : [{ networkId, ipv4 }];
    });
    if (come.length > 0 || old.length !== service.virtualIps.length) changed.set(service.id, [...old, ...come]);
  }
  return changed;
}

/** On a card of the node every address is seen by what else is on the wire: there containers have theirs, and nobody else. */
const isReady = ({ subnet, pendingDelete, spec }: Network): boolean =>
  subnet !== '' && !pendingDelete && !isDirect(spec.driver);

/** The networks on which a service shall have an address: those of its spec, and those that tasks of an older one are still on. */
function networksOf(
  { spec }: Service,
  idOf: ReadonlyMap<string, NetworkId>,
  tasks: readonly Task[],
): ReadonlySet<NetworkId> {
  const isJob = spec.mode === 'replicated-job' || spec.mode === 'global-job';
  if (spec.endpointMode === 'dnsrr' || isJob) return new Set();
  const named = spec.task.networkMode === 'networks' ? spec.task.networks : [];
  const own = named.flatMap(({ network }) => idOf.get(network) ?? []);
  const former = tasks.flatMap((task) => (isFinal(task) ? [] : heldAddresses(task).map(({ networkId }) => networkId)));
  return new Set([...own, ...former]);
}

/** The addresses of one network that containers get. */
class Range {
  readonly #range: Subnet;
  /** Taken by others than services, or promised to them. */
  readonly #foreign = new Set<number>();
  readonly #virtual = new Set<number>();
  /** Addresses that tasks to come need. */
  readonly #demand: number;

  constructor(
    network: Network,
    services: readonly Service[],
    tasks: readonly Task[],
    tasksOf: ReadonlyMap<string, readonly Task[]>,
  ) {
    this.#range = parseSubnet(network.spec.ipRange === '' ? network.subnet : network.spec.ipRange);
    const take = (address: string): void => {
      const number = readAddress(address);
      if (number !== undefined) this.#foreign.add(number);
    };
    take(network.gateway);
    Object.values(network.spec.auxiliaryAddresses ?? {}).forEach(take);
    for (const task of tasks) {
      if (isFinal(task)) continue;
      for (const { networkId, ipv4 } of heldAddresses(task)) if (networkId === network.id) take(ipv4);
    }
    let demand = 0;
    for (const { id, spec, desiredTasks } of services) {
      const attachment = spec.task.networks.find((one) => one.network === network.spec.name);
      if (attachment === undefined) continue;
      take(attachment.ipv4Address);
      const there = (tasksOf.get(id) ?? []).filter(
        (task) => !isFinal(task) && task.addresses.some(({ networkId }) => networkId === network.id),
      ).length;
      const replicas = spec.mode === undefined || spec.mode === 'replicated' ? spec.replicas : (desiredTasks ?? 1);
      demand += Math.max(0, replicas - there);
    }
    this.#demand = demand;
  }

  /** Whether an address that a service has is still good. */
  keep(ipv4: string): boolean {
    const address = parseAddress(ipv4);
    if (!contains(this.#range, address) || this.#foreign.has(address) || this.#virtual.has(address)) return false;
    this.#virtual.add(address);
    return true;
  }

  /** The highest address below those that services have, or, where there is none left, the highest that is free. */
  take(): string | undefined {
    const { base, size } = this.#range;
    const hosts = size - 2;
    const free = hosts - [...this.#foreign].filter((one) => contains(this.#range, one)).length - this.#virtual.size;
    if (free - 1 < this.#demand + Math.ceil(hosts / SPARE)) return undefined;
    const lowest = Math.min(base + size - 1, ...this.#virtual);
    for (let step = 1; step <= hosts; step++) {
      const address = base + 1 + ((lowest - base - 1 - step + 2 * hosts) % hosts);
      if (this.#foreign.has(address) || this.#virtual.has(address)) continue;
      this.#virtual.add(address);
      return formatAddress(address);
    }
    return undefined;
  }
}
