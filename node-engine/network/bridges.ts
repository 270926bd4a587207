/** Bridges of networks: made, repaired, found again and removed by netlink. */
import { readFileSync } from 'node:fs';
import type { NetworkId } from '../../base/ids.ts';
import { TsswarmError } from '../../base/errors.ts';
import { formatIp, formatIpSubnet, readIp, readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';
import type { BridgeRequest } from '../types.ts';
import { formatSubnet, macOf, parseSubnet } from './address.ts';
import type { Firewall } from './firewall.ts';
import { hostRoutes, routeWithin } from './host-routes.ts';
import type { RulesetBridge } from './ruleset.ts';
import { kernel } from './kernel.ts';
import type { BridgeAlias } from './names.ts';
import { bridgeName, formatAlias, parseAlias } from './names.ts';
import { turnIpv6ForwardingOn, turnIpv6On } from './ipv6.ts';
import type { NetlinkMessage } from './netlink.ts';
import type { Address, Link } from './route.ts';
import { secureTunnelMtu, tunnelMtu } from './underlay.ts';
import {
  addAddress,
  addressesOf,
  createBridge,
  deleteAddress,
  deleteLink,
  getLink,
  linksOf,
  listAddresses,
  listLinks,
  setLink,
} from './route.ts';
import type { Ipv6Address } from './route-ipv6.ts';
import { vxlansOf } from './vxlan.ts';
import { addIpv6Address, deleteIpv6Address, ipv6AddressesOf, listIpv6Addresses, routeLoopback } from './route-ipv6.ts';

const DEFAULT_MTU = 1500;
const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

/** Of a bridge that is there. */
export interface Bridge {
  readonly id: NetworkId;
  readonly link: Link;
  readonly internal: boolean;
  readonly addresses: readonly Address[];
  readonly ipv6Addresses: readonly Ipv6Address[];
}

/** All bridges of this instance in the node's namespace, and the links and addresses of everybody. */
export async function surveyBridges(instance: string): Promise<{
  readonly bridges: readonly Bridge[];
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly ipv6Addresses: readonly Ipv6Address[];
  /** What is particular to VXLAN devices, by index. */
  readonly vxlans: ReturnType<typeof vxlansOf>;
}> {
  const { outside: replies } = await kernel('the node', {
    outside: [listLinks(), listAddresses(), listIpv6Addresses()],
  });
  const links = linksOf(replies);
  const addresses = addressesOf(replies);
  const ipv6Addresses = ipv6AddressesOf(replies);
  const bridges = links.flatMap((link) => {
    const alias = parseAlias(link.alias);
    if (alias?.instance !== instance || link.kind !== 'bridge') return [];
    const own = addresses.filter(({ linkIndex }) => linkIndex === link.index);
    const ipv6 = ipv6Addresses.filter(({ linkIndex }) => linkIndex === link.index);
    return [{ id: alias.networkId, link, internal: alias.internal, addresses: own, ipv6Addresses: ipv6 }];
  });
  return { bridges, links, addresses, ipv6Addresses, vxlans: vxlansOf(replies) };
}

/** What the rules have to know of a bridge that is there; undefined while it has no address. */
export function rulesetBridge(bridge: Bridge): RulesetBridge | undefined {
  const [address] = bridge.addresses;
  const [ipv6] = bridge.ipv6Addresses;
  if (!address) return undefined;
  const subnet = formatSubnet(parseSubnet(`${address.ipv4}/${address.prefix}`));
  const known = { name: bridge.link.name, subnet, internal: bridge.internal };
  return ipv6 ? { ...known, ipv6Subnet: wholeSubnet(`${ipv6.ipv6}/${ipv6.prefix}`) } : known;
}

/** With the host bits cleared. */
function wholeSubnet(cidr: string): string {
  const subnet = readIpSubnet(cidr);
  return subnet ? formatIpSubnet(subnet) : cidr;
}

/** Looks a bridge up by its network. */
export async function findBridge(id: NetworkId): Promise<Link | undefined> {
  const { outside } = await kernel(`network "${id}"`, { outside: [getLink(bridgeName(id))] });
  return linksOf(outside)[0];
}

/**
 * Makes the bridge as asked for or mends what is different, address and forwarding included.
 * @throws NETWORK_FAILED also if another interface of the node has addresses of the subnet
 */
export async function ensureBridge(instance: string, request: BridgeRequest, firewall: Firewall): Promise<void> {
  const subject = `network "${request.name}"`;
  const name = bridgeName(request.id);
  const subnet = parseSubnet(request.subnet);
  const alias: BridgeAlias = { instance, networkId: request.id, internal: request.internal };
  const { links, addresses, ipv6Addresses } = await surveyBridges(instance);
  const mtu = request.mtu || defaultMtu(request, links);

  let link = links.find((link) => link.name === name);
  refuseForeign(subject, link, alias);
  refuseOverlap(request, link, links, [
    ...addresses.map(({ linkIndex, ipv4, prefix }) => ({ linkIndex, cidr: `${ipv4}/${prefix}` })),
    ...ipv6Addresses.map(({ linkIndex, ipv6, prefix }) => ({ linkIndex, cidr: `${ipv6}/${prefix}` })),
  ]);

  if (!link) refuseRoutes(request);

  const changes: NetlinkMessage[] = link ? [] : [createBridge(name, macOf(request.gateway), mtu)];
  if (!link?.up || link.mtu !== mtu || link.alias !== formatAlias(alias))
    changes.push(setLink(name, { alias: formatAlias(alias), mtu }));
  if (changes.length > 0) {
    const { outside } = await kernel(subject, { outside: [...changes, getLink(name)] });
    link = linksOf(outside)[0];
  }
  if (!link) throw new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: its bridge "${name}" has vanished`);

  const wanted: Address = { linkIndex: link.index, ipv4: request.gateway, prefix: subnet.prefix };
  const own = addresses.filter(({ linkIndex }) => linkIndex === link.index);
  const isWanted = (address: Address): boolean => address.ipv4 === wanted.ipv4 && address.prefix === wanted.prefix;
  const mends = [...own.filter((address) => !isWanted(address)).map(deleteAddress)];
  if (!own.some(isWanted)) mends.push(addAddress(wanted));
  const sysctls = [
    // The node's calls to published ports come from 127.0.0.1 until the source is translated.
    sysctl(`net/ipv4/conf/${name}/route_localnet`, '1'),
    ...(request.ipv6 === undefined ? [sysctl(`net/ipv6/conf/${name}/disable_ipv6`, '1', true)] : []),
    ...turnForwardingOn(firewall, links),
    ...(request.ipv6 === undefined
      ? []
      : turnIpv6On(subject, name, { hardware: hardwareOf(links), others: foreignOf(links) }, firewall)),
  ].flatMap((change) => (change ? [change] : []));
  mends.push(...mendIpv6(request, link.index, ipv6Addresses));
  if (mends.length > 0 || sysctls.length > 0) await kernel(subject, { outside: mends, sysctls });
  firewall.setBridge({
    name,
    subnet: formatSubnet(subnet),
    internal: request.internal,
    ...(request.ipv6 === undefined ? {} : { ipv6Subnet: wholeSubnet(request.ipv6.subnet) }),
  });
}

/** Gives the bridge the gateway's IPv6 address and takes others from it. */
function mendIpv6({ ipv6 }: BridgeRequest, linkIndex: number, addresses: readonly Ipv6Address[]): NetlinkMessage[] {
  const own = addresses.filter((address) => address.linkIndex === linkIndex);
  if (ipv6 === undefined) return own.map(deleteIpv6Address);
  const gateway = readIp(ipv6.gateway);
  const wanted: Ipv6Address = {
    linkIndex,
    ipv6: gateway ? formatIp(gateway.value, gateway.family) : ipv6.gateway,
    prefix: readIpSubnet(ipv6.subnet)?.prefix ?? 64,
  };
  const isWanted = (address: Ipv6Address): boolean => address.ipv6 === wanted.ipv6 && address.prefix === wanted.prefix;
  const surplus = own.filter((address) => !isWanted(address)).map(deleteIpv6Address);
  return [...surplus, ...(own.some(isWanted) ? [] : [addIpv6Address(wanted)]), routeLoopback(linkIndex)];
}

function defaultMtu({ underlay, encrypted }: BridgeRequest, links: readonly Link[]): number {
  if (underlay === undefined) return DEFAULT_MTU;
  return encrypted === true ? secureTunnelMtu(underlay, links) : tunnelMtu(underlay, links);
}

/** Not existing is success. */
export async function removeBridgeLink(id: NetworkId): Promise<void> {
  await kernel(`network "${id}"`, { outside: [deleteLink(bridgeName(id))] });
}

function refuseForeign(subject: string, link: Link | undefined, wanted: BridgeAlias): void {
  if (!link) return;
  const alias = parseAlias(link.alias);
  // Without an alias it may be ours, left half-made by a crash: made, but not yet labelled.
  if (link.kind === 'bridge' && (link.alias === '' || alias?.networkId === wanted.networkId)) return;
  throw new TsswarmError(
    'NETWORK_FAILED',
    `cannot set up ${subject}: the interface "${link.name}" exists and belongs to something else`,
    { hint: `see "ip -details link show ${link.name}" and remove it if nothing needs it` },
  );
}

function refuseOverlap(
  request: BridgeRequest,
  own: Link | undefined,
  links: readonly Link[],
  addresses: readonly { readonly linkIndex: number; readonly cidr: string }[],
): void {
  for (const wanted of [request.subnet, ...(request.ipv6 ? [request.ipv6.subnet] : [])]) {
    const subnet = readIpSubnet(wanted);
    for (const { linkIndex, cidr } of addresses) {
      const other = readIpSubnet(cidr);
      if (linkIndex === own?.index || !subnet || !other || !subnetsOverlap(subnet, other)) continue;
      const name = links.find(({ index }) => index === linkIndex)?.name ?? '';
      throw new TsswarmError(
        'NETWORK_FAILED',
        `cannot set up network "${request.name}": its subnet ${wanted} overlaps with ${cidr} on "${name}"`,
        { hint: 'give the network another subnet (networks: ipam: config: - subnet: …)' },
      );
    }
  }
}

/** A route to the subnet or to a part of it would take the packets to containers there. */
function refuseRoutes({ name, subnet, ipv6 }: BridgeRequest): void {
  for (const cidr of ipv6 ? [subnet, ipv6.subnet] : [subnet]) {
    const wanted = readIpSubnet(cidr);
    const route = wanted && routeWithin(wanted, hostRoutes());
    if (!route) continue;
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot set up network "${name}": its subnet ${cidr} is where this node has a route to ${formatIpSubnet(route.subnet)} by "${route.device}"`,
      { hint: 'give the network another subnet (networks: ipam: config: - subnet: …)' },
    );
  }
}

/** Undefined where it has that value: /proc/sys may be read-only for us, and yet right. */
function sysctl(key: string, value: string, optional = false): readonly [string, string] | undefined {
  try {
    if (readFileSync(`/proc/sys/${key}`, 'utf8').trim() === value) return undefined;
  } catch {
    if (optional) return undefined;
  }
  return [key, value];
}

/** Kinds of links that stand for a wire: the empty one is a card. */
const WIRES: readonly string[] = ['', 'vlan', 'bond', 'team', 'macvlan'];

/** Before the first packet is handed to another node: there may be no bridge that has turned forwarding on. */
export async function ensureForwarding(firewall: Firewall): Promise<void> {
  if (readFileSync(IP_FORWARD, 'utf8').trim() === '1') return;
  const { links } = await surveyBridges('');
  await kernel('the node', { sysctls: turnForwardingOn(firewall, links) });
}

/** The same of IPv6. */
export async function ensureIpv6Forwarding(firewall: Firewall): Promise<void> {
  const { links } = await surveyBridges('');
  const sysctls = turnIpv6ForwardingOn({ hardware: hardwareOf(links), others: foreignOf(links) }, firewall);
  if (sysctls.length > 0) await kernel('the node', { sysctls });
}

/** Forwarding turned on for the containers must not make the node a router between its own cards. */
function turnForwardingOn(firewall: Firewall, links: readonly Link[]): readonly (readonly [string, string])[] {
  if (readFileSync(IP_FORWARD, 'utf8').trim() === '1') return [];
  firewall.setHardware(hardwareOf(links));
  return [['net/ipv4/ip_forward', '1']];
}

function hardwareOf(links: readonly Link[]): readonly string[] {
  return links.filter(({ name, kind }) => name !== 'lo' && WIRES.includes(kind)).map(({ name }) => name);
}

/** What was not made by a daemon of ours. */
function foreignOf(links: readonly Link[]): readonly string[] {
  return links.filter(({ alias, name }) => !parseAlias(alias) && !/^ts[v-]/.test(name)).map(({ name }) => name);
}
