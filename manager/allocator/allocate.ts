import { messageOf } from '../../base/errors.ts';
import type { Cluster, Network, Service, Task, TaskAddress, VirtualIp } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { Subnet } from './ipv4.ts';
import {
  contains,
  cutSubnet,
  formatAddress,
  formatSubnet,
  nextAddress,
  overlaps,
  parseAddress,
  parseSubnet,
} from './ipv4.ts';
import { allocatePorts, portsInUse, portsMatch } from './ports.ts';
import { allocateVirtualIps } from './virtual-ips.ts';

/** What the allocator sees of the store. */
export interface AllocatorView {
  readonly cluster: Cluster | undefined;
  readonly networks: readonly Network[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
}

export interface Allocation {
  readonly networks: readonly Network[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
}

/** Subnets of Docker's own default pools are left alone: people run both. */
const DEFAULT_POOLS = ['10.210.0.0/16', '10.211.0.0/16'];
const DEFAULT_PREFIX = 24;

/**
 * Gives subnets to networks, ports to services, addresses to tasks; a task with all it needs becomes `pending`. What
 * cannot be had is said in the task's status and tried again when something is freed.
 */
export function allocate(view: AllocatorView, now: number): Allocation {
  const networks = new Map(view.networks.map((network) => [network.spec.name, network]));
  const changedNetworks: Network[] = [];
  for (const network of view.networks) {
    if (network.subnet !== '' || network.pendingDelete) continue;
    const allocated = allocateSubnet(network, view.cluster, [...networks.values()]);
    if (allocated === undefined) continue;
    networks.set(network.spec.name, allocated);
    changedNetworks.push(allocated);
  }
  const used = portsInUse(view.services, view.tasks);
  const changedServices: Service[] = [];
  for (const service of view.services) {
    if (service.pendingDelete || portsMatch(service.spec.ports, service.ports)) continue;
    const ports = allocatePorts(service.spec.ports, service.ports, used);
    if (ports !== undefined) changedServices.push({ ...service, ports });
  }
  const waitingForPorts = new Set(changedServices.map(({ id }) => id));
  const virtualIps = allocateVirtualIps({ ...view, networks: [...networks.values()] });
  const addresses = new AddressBook(view.tasks, networks, view.services, virtualIps);
  const changedTasks: Task[] = [];
  for (const task of view.tasks) {
    if (
      task.status.state !== 'new' ||
      task.held ||
      task.desiredState === 'remove' ||
      waitingForPorts.has(task.serviceId)
    )
      continue;
    const changed = allocateTask(task, addresses, used, now);
    if (changed !== undefined) changedTasks.push(changed);
  }
  return {
    networks: changedNetworks,
    services: withVirtualIps(view, changedServices, virtualIps),
    tasks: changedTasks,
  };
}

/** Services whose ports or virtual addresses change. */
function withVirtualIps(
  view: AllocatorView,
  changed: readonly Service[],
  virtualIps: ReadonlyMap<Service['id'], readonly VirtualIp[]>,
): readonly Service[] {
  const byId = new Map(changed.map((service) => [service.id, service]));
  for (const service of view.services) {
    const addresses = virtualIps.get(service.id);
    if (addresses !== undefined) byId.set(service.id, { ...(byId.get(service.id) ?? service), virtualIps: addresses });
  }
  return [...byId.values()];
}

function allocateSubnet(network: Network, cluster: Cluster | undefined, all: readonly Network[]): Network | undefined {
  const taken = all.filter(({ subnet }) => subnet !== '').map(({ subnet }) => parseSubnet(subnet));
  const pools = cluster?.spec.addressPools.length ? cluster.spec.addressPools : DEFAULT_POOLS;
  const prefix = cluster?.spec.addressPoolPrefix || DEFAULT_PREFIX;
  const wanted =
    network.spec.subnet === '' ? cutSubnet(pools.map(parseSubnet), prefix, taken) : parseSubnet(network.spec.subnet);
  if (wanted === undefined) return undefined;
  if (network.spec.subnet !== '' && taken.some((other) => overlaps(other, wanted))) return undefined;
  const gateway = network.spec.gateway === '' ? formatAddress(wanted.base + 1) : network.spec.gateway;
  return { ...network, subnet: formatSubnet(wanted), gateway };
}

/** Who has which address on which network. */
class AddressBook {
  readonly #networks: ReadonlyMap<string, Network>;
  readonly #used = new Map<string, Map<number, Task | undefined>>();
  readonly #last = new Map<string, number>();

  /** @param virtualIps of the services that do not keep those they have */
  constructor(
    tasks: readonly Task[],
    networks: ReadonlyMap<string, Network>,
    services: readonly Service[],
    virtualIps: ReadonlyMap<Service['id'], readonly VirtualIp[]>,
  ) {
    this.#networks = networks;
    for (const network of networks.values()) {
      this.#used.set(network.id, new Map(network.gateway === '' ? [] : [[parseAddress(network.gateway), undefined]]));
    }
    for (const service of services)
      for (const { networkId, ipv4 } of virtualIps.get(service.id) ?? service.virtualIps)
        this.#used.get(networkId)?.set(parseAddress(ipv4), undefined);
    for (const task of tasks) {
      for (const { networkId, ipv4 } of task.addresses) {
        const address = parseAddress(ipv4);
        this.#last.set(networkId, address);
        if (!isFinal(task)) this.#used.get(networkId)?.set(address, task);
      }
    }
  }

  /** @returns the address, or why there is none */
  take(task: Task, attachment: Task['spec']['networks'][number]): TaskAddress | string {
    const network = this.#networks.get(attachment.network);
    if (network === undefined || network.pendingDelete) return `network "${attachment.network}" does not exist`;
    if (network.subnet === '') {
      return network.spec.subnet === ''
        ? `network "${attachment.network}" has no subnet: the address pools are used up`
        : `network "${attachment.network}" cannot have subnet ${network.spec.subnet}: another network overlaps it`;
    }
    const used = this.#used.get(network.id) ?? new Map<number, Task | undefined>();
    const subnet = parseSubnet(network.subnet);
    const address =
      attachment.ipv4Address === ''
        ? this.#free(network, subnet, used)
        : fixed(attachment.ipv4Address, subnet, used, task);
    if (typeof address === 'string') return address;
    used.set(address, task);
    this.#last.set(network.id, address);
    return { networkId: network.id, ipv4: formatAddress(address) };
  }

  #free(network: Network, subnet: Subnet, used: ReadonlyMap<number, unknown>): number | string {
    const range = network.spec.ipRange === '' ? subnet : parseSubnet(network.spec.ipRange);
    const address = nextAddress(range, used, this.#last.get(network.id) ?? range.base + 1);
    return address ?? `network "${network.spec.name}" has no free address in ${formatSubnet(range)}`;
  }
}

/** An address that the user fixed may pass from a task to its successor in the same slot. */
function fixed(text: string, subnet: Subnet, used: ReadonlyMap<number, Task | undefined>, task: Task): number | string {
  const address = parseAddress(text);
  if (!contains(subnet, address)) return `address ${text} is not in the network's subnet ${formatSubnet(subnet)}`;
  const holder = used.get(address);
  const free = !used.has(address) || (holder?.serviceId === task.serviceId && holder.slot === task.slot);
  return free ? address : `address ${text} is taken by ${holder?.name ?? 'the gateway'}`;
}

function allocateTask(task: Task, book: AddressBook, used: Set<string>, now: number): Task | undefined {
  const addresses: TaskAddress[] = [];
  const trouble = (message: string): Task | undefined =>
    task.status.message === message ? undefined : { ...task, status: { ...task.status, message, timestamp: now } };
  try {
    for (const attachment of task.spec.networkMode === 'networks' ? task.spec.networks : []) {
      const address = book.take(task, attachment);
      if (typeof address === 'string') return trouble(address);
      addresses.push(address);
    }
  } catch (error) {
    return trouble(messageOf(error));
  }
  const ports = task.ports.length === 0 ? task.ports : allocatePorts(task.ports, [], used);
  if (ports === undefined) return trouble('no free port in the dynamic range');
  return {
    ...task,
    addresses,
    ports,
    status: { ...task.status, state: 'pending', message: 'allocated', timestamp: now },
  };
}
