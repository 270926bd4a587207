/** What of a container's interfaces somebody has changed by hand, and how it is made again what it was. */
import type { ContainerId } from '../../base/ids.ts';
import type { SandboxDifference, SandboxInterface, SandboxSide } from '../types.ts';
import { macOf } from './address.ts';
import { ipv6Sysctls } from './ipv6.ts';
import { kernel } from './kernel.ts';
import { bridgeName, vethName } from './names.ts';
import type { NetlinkMessage } from './netlink.ts';
import type { Address, Link, Route } from './route.ts';
import {
  addAddress,
  addressesOf,
  getLink,
  linksOf,
  listAddresses,
  listLinks,
  listRoutes,
  routesOf,
  setDefaultRoute,
  setHairpin,
  setLink,
  setNoLinkLocal,
  setSubnetRoute,
} from './route.ts';
import type { Ipv6Address } from './route-ipv6.ts';
import { addIpv6Address, ipv6AddressesOf, listIpv6Addresses, setIpv6DefaultRoute } from './route-ipv6.ts';

/** A difference, and what mends it. */
interface Fault extends SandboxDifference {
  readonly inside?: readonly NetlinkMessage[];
  readonly outside?: readonly NetlinkMessage[];
  readonly sysctls?: readonly (readonly [key: string, value: string])[];
  /** The interface has to be made anew. */
  readonly isLost?: boolean;
}

/** What is there. */
interface View {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly ipv6: readonly Ipv6Address[];
  readonly routes: readonly Route[];
  /** On the node: bridges and the other ends. */
  readonly node: readonly Link[];
}

/** @param path of the container's namespace, which is there @throws NETWORK_FAILED */
export async function checkInterfaces(
  id: ContainerId,
  path: string,
  interfaces: readonly SandboxInterface[],
  side: SandboxSide,
): Promise<readonly SandboxDifference[]> {
  const faults = await faultsOf(id, path, interfaces, side);
  return faults.map(({ field, expected, found, tolerated }) => ({
    ...{ field, expected, found },
    ...(tolerated === undefined ? {} : { tolerated }),
  }));
}

/**
 * Mends what can be mended without making an interface anew.
 * @returns false: one has to be made anew
 * @throws NETWORK_FAILED
 */
export async function mendInterfaces(
  id: ContainerId,
  path: string,
  interfaces: readonly SandboxInterface[],
  side: SandboxSide,
): Promise<boolean> {
  const faults = await faultsOf(id, path, interfaces, side);
  const inside = faults.flatMap((fault) => fault.inside ?? []);
  const outside = faults.flatMap((fault) => fault.outside ?? []);
  const sysctls = faults.flatMap((fault) => fault.sysctls ?? []);
  if (inside.length + outside.length > 0) await kernel(subjectOf(id), { netns: path, sysctls, inside, outside });
  return !faults.some(({ isLost }) => isLost === true);
}

async function faultsOf(
  id: ContainerId,
  path: string,
  interfaces: readonly SandboxInterface[],
  side: SandboxSide,
): Promise<readonly Fault[]> {
  if (interfaces.length === 0) return [];
  const bridges = interfaces.map(({ networkId }) => bridgeName(networkId));
  const ends = Array.from({ length: interfaces.length + SPARE_ENDS }, (_, ordinal) => vethName(id, ordinal));
  const hasIpv6 = interfaces.some(({ ipv6 }) => ipv6 !== undefined);
  const { inside, outside } = await kernel(subjectOf(id), {
    netns: path,
    inside: [listLinks(), listAddresses(), listRoutes(), ...(hasIpv6 ? [listIpv6Addresses()] : [])],
    outside: [...bridges, ...ends].map(getLink),
  });
  const view: View = {
    links: linksOf(inside),
    addresses: addressesOf(inside),
    ipv6: hasIpv6 ? ipv6AddressesOf(inside) : [],
    routes: routesOf(inside),
    node: linksOf(outside),
  };
  return interfaces.flatMap((wanted) =>
    side === 'both' ? faultsOfOne(wanted, view) : faultsOfNodeSide(wanted, linkOf(wanted, view), view),
  );
}

/** Interfaces that came and went leave numbers free: ends are looked for among some more than there are. */
const SPARE_ENDS = 2;

function faultsOfOne(wanted: SandboxInterface, view: View): readonly Fault[] {
  const { ipv4, prefix, gateway, ipv6, direct } = wanted;
  const link = linkOf(wanted, view);
  if (link === undefined) {
    const field = `interface of ${ipv4}`;
    return [{ field, expected: 'there', found: 'gone', isLost: true }];
  }
  const { name, index } = link;
  const faults: Fault[] = [];
  if (!link.up)
    faults.push({ field: `interface ${name}`, expected: 'up', found: 'down', inside: [setLink(index, {})] });
  if (direct !== undefined && direct.mtu > 0 && link.mtu !== direct.mtu) faults.push(mtuFault(link, direct.mtu));
  const bridge = bridgeOf(wanted, view);
  if (bridge !== undefined && link.kind === 'veth' && link.mtu !== bridge.mtu) faults.push(mtuFault(link, bridge.mtu));
  faults.push(...faultsOfNodeSide(wanted, link, view));
  const address = { linkIndex: index, ipv4, prefix };
  const held = view.addresses.filter(({ linkIndex }) => linkIndex === index);
  const hasAddress = held.some((one) => one.ipv4 === ipv4 && one.prefix === prefix);
  if (!hasAddress) {
    const found = held.map((one) => `${one.ipv4}/${one.prefix}`).join(', ') || 'none';
    faults.push({ field: `address ${name}`, expected: `${ipv4}/${prefix}`, found, inside: [addAddress(address)] });
  }
  const subnet = subnetOf(address);
  const isDirect = view.routes.some((one) => one.linkIndex === index && one.destination === subnet);
  // The kernel makes it with the address, and when the interface comes up.
  if (!isDirect && prefix < 32 && direct === undefined)
    faults.push({
      field: `route ${subnet}`,
      expected: `by ${name}`,
      found: 'none',
      inside: [setSubnetRoute(address)],
    });
  // On a card of the node the way out depends on the mode of the link.
  if (gateway !== '' && direct === undefined) {
    const outward = view.routes.filter(({ destination }) => destination === '0.0.0.0/0');
    if (!outward.some((one) => one.gateway === gateway && one.linkIndex === index)) {
      const found = outward.map((one) => `by ${one.gateway}`).join(', ') || 'none';
      const route = setDefaultRoute(gateway, index);
      faults.push({ field: 'route default', expected: `by ${gateway}`, found, inside: [route] });
    }
  }
  if (ipv6 !== undefined && !view.ipv6.some((one) => one.linkIndex === index && one.ipv6 === ipv6.address)) {
    const again = [addIpv6Address({ linkIndex: index, ipv6: ipv6.address, prefix: ipv6.prefix })];
    if (ipv6.gateway !== '') again.push(setIpv6DefaultRoute(ipv6.gateway, index));
    const expected = `${ipv6.address}/${ipv6.prefix}`;
    faults.push({ field: `address ${name}`, expected, found: 'none', inside: again, sysctls: ipv6Sysctls(name) });
  }
  return faults;
}

function mtuFault({ name, index, mtu }: Link, wanted: number): Fault {
  const inside = [setLink(index, { mtu: wanted })];
  return { field: `mtu ${name}`, expected: String(wanted), found: String(mtu), inside };
}

const bridgeOf = ({ networkId }: SandboxInterface, { node }: View): Link | undefined =>
  node.find((one) => one.name === bridgeName(networkId));

/** Of the bridge, and of the end on the node of the pair that joins a container to it. */
function faultsOfNodeSide(wanted: SandboxInterface, link: Link | undefined, view: View): readonly Fault[] {
  const { node } = view;
  if (link?.kind !== 'veth' || wanted.direct !== undefined) return [];
  const bridge = bridgeOf(wanted, view);
  if (bridge === undefined) {
    // Bridges are made for all containers of a node together, before they are looked at.
    const tolerated = 'it could not be made anew, the log of the daemon says why';
    return [{ field: `bridge of ${link.name}`, expected: 'there', found: 'gone', tolerated }];
  }
  const faults: Fault[] = [];
  const end = node.find((one) => one.index === link.peer && one.kind === 'veth');
  if (end === undefined) return faults;
  if (end.master !== bridge.index || !end.up) {
    const found = end.up ? 'not on its bridge' : 'down';
    const outside = [setNoLinkLocal(end.name), setLink(end.name, { master: bridge.index }), setHairpin(end.name)];
    faults.push({ field: `interface ${end.name} of the node`, expected: 'up, on its bridge', found, outside });
  }
  if (end.mtu !== bridge.mtu) {
    const outside = [setLink(end.name, { mtu: bridge.mtu })];
    faults.push({
      field: `mtu ${end.name} of the node`,
      expected: String(bridge.mtu),
      found: String(end.mtu),
      outside,
    });
  }
  return faults;
}

/** Known by its address, by the hardware address that it was made with, or by a name of its own. */
function linkOf({ ipv4, prefix, macAddress, name }: SandboxInterface, { links, addresses }: View): Link | undefined {
  const held = addresses.find((one) => one.ipv4 === ipv4 && one.prefix === prefix);
  const mac = macAddress ?? macOf(ipv4);
  return (
    links.find(({ index }) => index === held?.linkIndex) ??
    links.find((link) => link.mac === mac) ??
    links.find((link) => name !== undefined && link.name === name)
  );
}

function subnetOf({ ipv4, prefix }: Address): string {
  const bits = ipv4.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - prefix);
  const first = Math.floor(bits / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${prefix}`;
}

const subjectOf = (id: ContainerId): string => `container "${id.slice(0, 12)}"`;
