import { formatIp, parseIp, readIp, readIpSubnet, subnetContains } from '../../base/ip-address.ts';
import type { IpSubnet } from '../../base/ip-address.ts';
import type { Network, NetworkAttachment, Service, Task } from '../../proto/types/index.ts';
import { heldAddresses } from '../model/task-addresses.ts';
import { isFinal } from '../model/task-state.ts';

/**
 * Who has which IPv6 address on which network. An address has the place in its subnet that the IPv4 address of its holder has in the
 * other: 10.210.3.7 goes with fd…::7. Where somebody has that already, the next that is free follows.
 */
export class Ipv6Book {
  readonly #networks = new Map<string, { readonly network: Network; readonly used: Map<bigint, Task | undefined> }>();

  constructor(networks: Iterable<Network>, tasks: readonly Task[], services: readonly Service[]) {
    for (const network of networks) {
      if (network.ipv6 === undefined) continue;
      const used = new Map<bigint, Task | undefined>();
      for (const text of [network.ipv6.gateway, ...Object.values(network.spec.auxiliaryAddresses)]) {
        const address = readIp(text);
        if (address?.family === 6) used.set(address.value, undefined);
      }
      this.#networks.set(network.id, { network, used });
    }
    if (this.#networks.size === 0) return;
    for (const { virtualIps } of services)
      for (const { networkId, ipv6 } of virtualIps) this.#note(networkId, ipv6, undefined);
    for (const task of tasks)
      if (!isFinal(task)) for (const { networkId, ipv6 } of heldAddresses(task)) this.#note(networkId, ipv6, task);
  }

  /**
   * Takes one that goes with an IPv4 address.
   * @returns the address, or undefined where the network has no IPv6; `trouble` says why there is none
   */
  take(
    networkId: string,
    ipv4: string,
    holder: { readonly task: Task; readonly attachment: NetworkAttachment } | undefined,
  ): { readonly ipv6?: string } | { readonly trouble: string } {
    const known = this.#networks.get(networkId);
    const fixed = holder?.attachment.ipv6Address ?? '';
    if (known === undefined) {
      return fixed === '' ? {} : { trouble: `address ${fixed} is of IPv6, which the network does not have` };
    }
    const { network, used } = known;
    const subnet = readIpSubnet(network.ipv6?.subnet ?? '');
    const range = network.spec.ipv6?.ipRange ? readIpSubnet(network.spec.ipv6.ipRange) : subnet;
    if (subnet === undefined || range === undefined)
      return { trouble: `network "${network.spec.name}" has no IPv6 subnet` };
    const address =
      fixed === '' ? freeAddress(network, ipv4, range, used) : fixedAddress(fixed, subnet, used, holder?.task);
    if (typeof address === 'string') return { trouble: address };
    used.set(address, holder?.task);
    return { ipv6: formatIp(address, 6) };
  }

  #note(networkId: string, ipv6: string | undefined, task: Task | undefined): void {
    if (ipv6 !== undefined) this.#networks.get(networkId)?.used.set(parseIp(ipv6, 6), task);
  }
}

/** As many are tried as a subnet of IPv4 can have holders at most. */
const TRIES = 1n << 24n;

function freeAddress(
  { spec, subnet }: Network,
  ipv4: string,
  range: IpSubnet,
  used: ReadonlyMap<bigint, unknown>,
): bigint | string {
  const ipv4Subnet = readIpSubnet(subnet);
  const place = ipv4Subnet === undefined ? 1n : parseIp(ipv4, 4) - ipv4Subnet.base;
  // The first address is the subnet's own (RFC 4291, 2.6.1).
  const hosts = range.size - 1n;
  for (let i = 0n; i < hosts && i < TRIES; i++) {
    const address = range.base + 1n + ((place - 1n + i + hosts) % hosts);
    if (!used.has(address)) return address;
  }
  return `network "${spec.name}" has no free IPv6 address in ${formatIp(range.base, 6)}/${range.prefix}`;
}

/** An address that the user fixed may pass from a task to its successor in the same slot. */
function fixedAddress(
  text: string,
  subnet: IpSubnet,
  used: ReadonlyMap<bigint, Task | undefined>,
  task: Task | undefined,
): bigint | string {
  const address = readIp(text);
  if (address?.family !== 6 || !subnetContains(subnet, address.value))
    return `address ${text} is not in the network's subnet ${formatIp(subnet.base, 6)}/${subnet.prefix}`;
  const holder = used.get(address.value);
  const free = !used.has(address.value) || (holder?.serviceId === task?.serviceId && holder?.slot === task?.slot);
  return free
    ? address.value
    : `address ${text} is taken by ${holder?.name ?? 'the gateway or as an auxiliary address'}`;
}
