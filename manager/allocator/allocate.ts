import { messageOf } from '../../base/errors.ts';
import { readIp } from '../../base/ip-address.ts';
import { numbersOf } from '../../base/published-port.ts';
import type {
  Cluster,
  Network,
  NetworkAttachment,
  Node,
  Service,
  Task,
  TaskAddress,
  VirtualIp,
} from '../../proto/types/index.ts';
import { isChoiceOf } from '../model/ports.ts';
import { heldAddresses } from '../model/task-addresses.ts';
import { isFinal } from '../model/task-state.ts';
import type { Subnet } from './ipv4.ts';
import { contains, formatAddress, formatSubnet, nextAddress, parseAddress, parseSubnet } from './ipv4.ts';
import { Ipv6Book } from './ipv6.ts';
import { allocatePorts, portsInUse, portsMatch } from './ports.ts';
import { allocateSubnets } from './subnets.ts';
import { allocateVirtualIps } from './virtual-ips.ts';

/** What the allocator sees of the store. */
export interface AllocatorView {
  readonly cluster: Cluster | undefined;
  readonly networks: readonly Network[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  /** Their own routes are left alone. */
  readonly nodes?: readonly Node[];
  /** Subnets that networks have left a short while ago; absent: none. */
  readonly resting?: readonly string[];
}

export interface Allocation {
  readonly networks: readonly Network[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
}

/**
 * Gives subnets to networks, ports to services, addresses to tasks; a task with all it needs becomes `pending`. What
 * cannot be had is said in the task's status and tried again when something is freed.
 */
export function allocate(view: AllocatorView, now: number): Allocation {
  const networks = new Map(view.networks.map((network) => [network.spec.name, network]));
  const changedNetworks: Network[] = [];
  for (const network of view.networks) {
    if (network.pendingDelete || hasSubnets(network)) continue;
    const subnets = allocateSubnets(network, view.cluster, [...networks.values()], view.nodes ?? [], view.resting);
    if (subnets === undefined) continue;
    const allocated = { ...network, ...subnets };
    networks.set(network.spec.name, allocated);
    changedNetworks.push(allocated);
  }
  const isSettled = ({ pendingDelete, spec, ports }: Service): boolean =>
    pendingDelete || portsMatch(spec.ports, ports);
  const [settled = [], unsettled = []] = [true, false].map((is) =>
    view.services.filter((one) => isSettled(one) === is),
  );
  const used = portsInUse(settled, view.tasks);
  // What is named, and what stays, is nobody else's choice.
  for (const { spec, ports } of unsettled)
    for (const port of [...spec.ports, ...ports.filter((had) => spec.ports.some((wish) => isChoiceOf(wish, had)))])
      used.add(port);
  const changedServices: Service[] = [];
  const withoutPorts = new Map<Service['id'], string>();
  for (const service of unsettled) {
    const found = allocatePorts(service.spec.ports, service.ports, used);
    if ('ports' in found) changedServices.push({ ...service, ports: found.ports });
    else withoutPorts.set(service.id, `none of the ports ${numbersOf(found.lacking).join('-')} is free`);
  }
  const waitingForPorts = new Set(changedServices.map(({ id }) => id));
  const ipv6 = new Ipv6Book(networks.values(), view.tasks, view.services);
  const virtualIps = withIpv6(allocateVirtualIps({ ...view, networks: [...networks.values()] }), view.services, ipv6);
  // Most looks find no task that needs an address.
  let book: AddressBook | undefined;
  const addresses = (): AddressBook =>
    (book ??= new AddressBook(view.tasks, networks, ipv6, view.services, virtualIps));
  const changedTasks: Task[] = [];
  for (const task of view.tasks) {
    const readdressed = readdress(task, networks, addresses, now);
    if (readdressed !== undefined) changedTasks.push(readdressed);
    if (
      task.status.state !== 'new' ||
      task.held ||
      task.desiredState === 'remove' ||
      waitingForPorts.has(task.serviceId)
    )
      continue;
    const changed = allocateTask(task, addresses, withoutPorts.get(task.serviceId), now);
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

/** Gives virtual addresses one of IPv6 where their network has it. @param changed those of services that do not keep what they have */
function withIpv6(
  changed: ReadonlyMap<Service['id'], readonly VirtualIp[]>,
  services: readonly Service[],
  book: Ipv6Book,
): ReadonlyMap<Service['id'], readonly VirtualIp[]> {
  const result = new Map(changed);
  for (const { id, pendingDelete, virtualIps } of services) {
    const addresses = changed.get(id) ?? virtualIps;
    if (pendingDelete || addresses.every(({ ipv6 }) => ipv6 !== undefined)) continue;
    const completed = addresses.map((address) => {
      const found = address.ipv6 === undefined ? book.take(address.networkId, address.ipv4, undefined) : {};
      return 'ipv6' in found ? { ...address, ...found } : address;
    });
    if (completed.some((address, i) => address !== addresses[i])) result.set(id, completed);
  }
  return result;
}

/** Who has which address on which network. */
class AddressBook {
  readonly #networks: ReadonlyMap<string, Network>;
  readonly #used = new Map<string, Map<number, Task | undefined>>();
  readonly #last = new Map<string, number>();
  readonly #ipv6: Ipv6Book;

  /** @param virtualIps of the services that do not keep those they have */
  constructor(
    tasks: readonly Task[],
    networks: ReadonlyMap<string, Network>,
    ipv6: Ipv6Book,
    services: readonly Service[],
    virtualIps: ReadonlyMap<Service['id'], readonly VirtualIp[]>,
  ) {
    this.#networks = networks;
    this.#ipv6 = ipv6;
    for (const network of networks.values()) {
      const reserved = [network.gateway, ...Object.values(network.spec.auxiliaryAddresses)].filter(isIpv4);
      this.#used.set(network.id, new Map(reserved.map((address) => [parseAddress(address), undefined])));
    }
    for (const service of services)
      for (const { networkId, ipv4 } of virtualIps.get(service.id) ?? service.virtualIps)
        this.#used.get(networkId)?.set(parseAddress(ipv4), undefined);
    for (const task of tasks) {
      for (const { networkId, ipv4 } of heldAddresses(task)) {
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
    if (!hasSubnets(network)) {
      const named = [network.spec.subnet, network.spec.ipv6?.subnet ?? ''].filter((subnet) => subnet !== '');
      return named.length === 0
        ? `network "${attachment.network}" has no subnet: the address pools are used up`
        : `network "${attachment.network}" cannot have subnet ${named.join(' and ')}: another network overlaps it`;
    }
    const used = this.#used.get(network.id) ?? new Map<number, Task | undefined>();
    const subnet = parseSubnet(network.subnet);
    const address =
      attachment.ipv4Address === ''
        ? this.#free(network, subnet, used)
        : fixed(attachment.ipv4Address, subnet, used, task);
    if (typeof address === 'string') return address;
    const ipv4 = formatAddress(address);
    const ipv6 = this.#ipv6.take(network.id, ipv4, { task, attachment });
    if ('trouble' in ipv6) return ipv6.trouble;
    used.set(address, task);
    this.#last.set(network.id, address);
    return { networkId: network.id, ipv4, ...ipv6 };
  }

  #free(network: Network, subnet: Subnet, used: ReadonlyMap<number, unknown>): number | string {
    const range = network.spec.ipRange === '' ? subnet : parseSubnet(network.spec.ipRange);
    const address = nextAddress(range, used, this.#last.get(network.id) ?? range.base + 1);
    return address ?? `network "${network.spec.name}" has no free address in ${formatSubnet(range)}`;
  }
}

const hasSubnets = ({ subnet, spec, ipv6 }: Network): boolean =>
  subnet !== '' && (spec.ipv6 === undefined || ipv6 !== undefined);

const isIpv4 = (text: string): boolean => readIp(text)?.family === 4;

/** An address that the user fixed may pass from a task to its successor in the same slot. */
function fixed(text: string, subnet: Subnet, used: ReadonlyMap<number, Task | undefined>, task: Task): number | string {
  const address = parseAddress(text);
  if (!contains(subnet, address)) return `address ${text} is not in the network's subnet ${formatSubnet(subnet)}`;
  const holder = used.get(address);
  const free = !used.has(address) || (holder?.serviceId === task.serviceId && holder.slot === task.slot);
  return free ? address : `address ${text} is taken by ${holder?.name ?? 'the gateway or as an auxiliary address'}`;
}

/**
 * The addresses of a task whose networks are changed while it runs: what it has it keeps where it can, and what it had before it may
 * have again.
 * @returns undefined: there is nothing to do
 */
function readdress(
  task: Task,
  networks: ReadonlyMap<string, Network>,
  book: () => AddressBook,
  now: number,
): Task | undefined {
  const { changing, spec, status } = task;
  if (changing === undefined || isFinal(task) || spec.networkMode !== 'networks') return undefined;
  const had = heldAddresses(task);
  const addresses: TaskAddress[] = [];
  let trouble = '';
  for (const attachment of spec.networks) {
    const network = networks.get(attachment.network);
    const known = had.find((address) => address.networkId === network?.id && fits(address, attachment, network));
    const address = known ?? taken(() => book().take(task, attachment));
    if (typeof address === 'string') trouble ||= address;
    else addresses.push(address);
  }
  if (trouble !== '')
    return status.message === trouble
      ? undefined
      : { ...task, status: { ...status, message: trouble, timestamp: now } };
  if (sameAddresses(addresses, task.addresses)) return undefined;
  const former = changing.addresses ?? [];
  return { ...task, addresses, changing: { ...changing, addresses: former.length === 0 ? task.addresses : former } };
}

/** Whether an address that a task has is what an attachment asks for. */
function fits(
  { ipv4, ipv6 }: TaskAddress,
  { ipv4Address, ipv6Address = '' }: NetworkAttachment,
  network: Network | undefined,
): boolean {
  const hasFamilies = (ipv6 !== undefined) === (network?.ipv6 !== undefined);
  return (
    hasFamilies && (ipv4Address === '' || ipv4Address === ipv4) && (ipv6Address === '' || isSameIp(ipv6Address, ipv6))
  );
}

const isSameIp = (a: string, b: string | undefined): boolean => readIp(a)?.value === readIp(b ?? '')?.value;

function taken(take: () => TaskAddress | string): TaskAddress | string {
  try {
    return take();
  } catch (error) {
    return messageOf(error);
  }
}

const sameAddresses = (a: readonly TaskAddress[], b: readonly TaskAddress[]): boolean =>
  a.length === b.length &&
  a.every(({ networkId, ipv4, ipv6 }, index) => {
    const other = b[index];
    return networkId === other?.networkId && ipv4 === other.ipv4 && ipv6 === other.ipv6;
  });

/** @param hindrance why its service does not have what it needs */
function allocateTask(
  task: Task,
  book: () => AddressBook,
  hindrance: string | undefined,
  now: number,
): Task | undefined {
  const addresses: TaskAddress[] = [];
  const trouble = (message: string): Task | undefined =>
    task.status.message === message ? undefined : { ...task, status: { ...task.status, message, timestamp: now } };
  if (hindrance !== undefined && !task.oneOff) return trouble(hindrance);
  try {
    for (const attachment of task.spec.networkMode === 'networks' ? task.spec.networks : []) {
      const address = book().take(task, attachment);
      if (typeof address === 'string') return trouble(address);
      addresses.push(address);
    }
  } catch (error) {
    return trouble(messageOf(error));
  }
  return {
    ...task,
    addresses,
    status: { ...task.status, state: 'pending', message: 'allocated', timestamp: now },
  };
}
