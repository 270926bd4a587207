/** Tunnels between nodes: made, mended, found again and removed by netlink; their entries put in and taken out in lots. */
import { isIPv6 } from 'node:net';
import type { KeyedQueue } from '../../base/async.ts';
import { TsswarmError } from '../../base/errors.ts';
import { MESH_IPV6_PREFIX, meshIpv6 } from '../../base/mesh-address.ts';
import type { TunnelChange, TunnelEntry, TunnelId, TunnelRequest, Tunnels } from '../types.ts';
import { macOf, parseSubnet } from './address.ts';
import { kernel, refused, tryKernel } from './kernel.ts';
import { MESH_NAME, PROBE_NAME, bridgeName, formatTunnelAlias, parseTunnelAlias, tunnelName } from './names.ts';
import type { Forwarding, Neighbour } from './neighbours.ts';
import {
  deleteForwarding,
  deleteNeighbour,
  forwardingOf,
  listForwarding,
  listNeighbours,
  neighboursOf,
  putForwarding,
  putNeighbour,
} from './neighbours.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import type { Link } from './route.ts';
import {
  addAddress,
  addressesOf,
  deleteAddress,
  deleteLink,
  getLink,
  linksOf,
  listAddresses,
  listLinks,
  setLink,
} from './route.ts';
import { hasIpv6, ipv6Sysctls } from './ipv6.ts';
import type { Ipv6Address } from './route-ipv6.ts';
import { addIpv6Address, deleteIpv6Address, ipv6AddressesOf, listIpv6Addresses, routeLoopback } from './route-ipv6.ts';
import { linkOf, tunnelMtu } from './underlay.ts';
import { ensureTunnelGuard, refuseClear, removeTunnelGuard } from './tunnel-guard.ts';
import { SECURE_SLOTS, createSecureLink, secureName } from './wireguard.ts';
import type { VxlanDevice } from './vxlan.ts';
import { bindVxlan, createVxlan, setTunnelPort, setVxlanLocal, vxlansOf } from './vxlan.ts';

/** Requests in one go: what the kernel has to say of all of them must fit in the socket. */
const LOT = 256;

/** A tunnel with an address of its own on it, and no bridge. */
const isBare = (id: TunnelId): id is 'mesh' | 'probe' => id === 'mesh' || id === 'probe';
const BARE = {
  mesh: { name: MESH_NAME, subject: 'the mesh of published ports' },
  probe: { name: PROBE_NAME, subject: 'the way that is tried' },
} as const;
const nameOf = (id: TunnelId): string => (isBare(id) ? BARE[id].name : tunnelName(id));
const subjectOf = ({ id, name }: Pick<TunnelRequest, 'id' | 'name'>): string =>
  isBare(id) ? BARE[id].subject : `network "${name}"`;

/**
 * @param guard name of the table that keeps the node's own frames out of the tunnels
 * @param queue orders what is done to one network
 */
export function createTunnels(instance: string, guard: string, queue: KeyedQueue): Tunnels {
  const isOurs = (link: Link): boolean => parseTunnelAlias(link.alias)?.instance === instance;
  return {
    list: () => list(instance),
    ensure: (request) =>
      queue.run(request.id, async () => {
        if (!isBare(request.id)) await ensureTunnelGuard(guard);
        if (request.encrypted !== undefined)
          await refuseClear(
            guard,
            SECURE_SLOTS.map((slot) => secureName(instance, slot)),
            request,
          );
        return ensure(instance, request);
      }),
    change: (id, change) => queue.run(id, () => apply(id, change)),
    remove: (id) =>
      queue.run(id, async () => {
        const { outside } = await kernel(`tunnel "${nameOf(id)}"`, { outside: [listLinks()] });
        const links = linksOf(outside).filter(isOurs);
        if (links.some(({ name }) => name === nameOf(id)))
          await kernel(`tunnel "${nameOf(id)}"`, { outside: [deleteLink(nameOf(id))] });
        const isLast = !links.some(({ name }) => name !== nameOf(id) && name !== MESH_NAME && name !== PROBE_NAME);
        if (isLast && !isBare(id)) await removeTunnelGuard(guard);
      }),
    secure: createSecureLink(instance),
  };
}

async function list(instance: string): ReturnType<Tunnels['list']> {
  const { outside } = await kernel('the node', { outside: [listLinks(), listNeighbours(), listForwarding()] });
  const links = linksOf(outside);
  const neighbours = Map.groupBy(neighboursOf(outside), ({ link }) => link);
  const forwarding = Map.groupBy(forwardingOf(outside), ({ link }) => link);
  return links.flatMap((link) => {
    const alias = parseTunnelAlias(link.alias);
    if (alias?.instance !== instance || link.kind !== 'vxlan' || alias.id === 'probe') return [];
    const isMesh = alias.id === 'mesh';
    const known = neighbours.get(isMesh ? link.index : link.master) ?? [];
    return [{ id: alias.id, entries: entriesOf(known, forwarding.get(link.index) ?? [], !isMesh) }];
  });
}

/** By hardware address: the IP addresses that lead to it, and where it leads; no peer where something is missing. */
function entriesOf(
  neighbours: readonly Neighbour[],
  forwarding: readonly Forwarding[],
  bridged: boolean,
): readonly TunnelEntry[] {
  const peers = new Map(forwarding.flatMap(({ mac, peer }) => (peer === undefined ? [] : [[mac, peer]])));
  const ports = new Set(forwarding.flatMap(({ mac, peer }) => (peer === undefined ? [mac] : [])));
  const ips = Map.groupBy(neighbours, ({ mac }) => mac);
  // A bridge has no permanent neighbours but those that were entered, a tunnel no static entries.
  return [...new Set([...ips.keys(), ...peers.keys()])].map((mac) => {
    const own = (ips.get(mac) ?? []).map(({ ip }) => ip);
    const ipv6 = own.find((ip) => isIPv6(ip));
    const ipv4 = own.find((ip) => !isIPv6(ip));
    const isWhole = ipv4 !== undefined && (!bridged || ports.has(mac));
    return {
      ipv4: ipv4 ?? '',
      ...(ipv6 === undefined ? {} : { ipv6 }),
      mac,
      peer: isWhole ? (peers.get(mac) ?? '') : '',
    };
  });
}

async function ensure(instance: string, request: TunnelRequest): Promise<{ readonly isNew: boolean }> {
  const subject = subjectOf(request);
  const { outside } = await kernel(subject, { outside: [listLinks(), listAddresses()] });
  const links = linksOf(outside);
  const { id } = request;
  const bridge = isBare(id) ? undefined : links.find(({ name }) => name === bridgeName(id));
  if (!isBare(id) && bridge === undefined)
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot connect ${subject} with other nodes: its bridge is not on this node`,
    );
  const name = nameOf(request.id);
  const by = request.encrypted === undefined ? undefined : secureName(instance, request.encrypted);
  const secure = links.find((candidate) => candidate.name === by);
  const wanted: VxlanDevice = {
    name,
    vni: request.vni,
    port: request.port,
    local: linkOf(request.local) === undefined ? '' : request.local,
    mtu: bridge?.mtu ?? tunnelMtu(request.local, links),
    ...(secure === undefined ? {} : { by: secure.index }),
    ...(request.address === undefined ? {} : { mac: macOf(ipOf(request.address)) }),
  };
  if (by !== undefined && wanted.by === undefined)
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot connect ${subject} with other nodes: the encrypted way is not there`,
    );
  const alias = formatTunnelAlias(instance, id);
  let link = links.find((candidate) => candidate.name === name);
  if (link !== undefined && link.alias !== '' && parseTunnelAlias(link.alias)?.instance !== instance)
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot set up ${subject}: the interface "${name}" exists and belongs to something else`,
      { hint: `see "ip -details link show ${name}" and remove it if nothing needs it` },
    );
  const changes = link === undefined ? undefined : changesOf(link, wanted, outside);
  const isNew = changes === undefined;
  if (changes === undefined) {
    if (link !== undefined) await kernel(subject, { outside: [deleteLink(name)] });
    await create(subject, wanted, links, outside);
  }
  await kernel(subject, {
    outside: [
      ...(changes ?? []),
      setLink(name, { alias, mtu: wanted.mtu, ...(bridge === undefined ? {} : { master: bridge.index }) }),
      ...(bridge === undefined ? [] : [setTunnelPort(name)]),
    ],
  });
  if (request.address !== undefined) {
    link = linksOf((await kernel(subject, { outside: [getLink(name)] })).outside)[0];
    await setAddress(subject, link?.index ?? 0, request.address, outside);
    // The node's own calls to published ports come from 127.0.0.1 until the source is translated.
    if (id === 'mesh') await kernel(subject, { sysctls: [[`net/ipv4/conf/${name}/route_localnet`, '1']] });
    if (id === 'mesh' && link !== undefined && hasIpv6()) {
      const ipv6: Ipv6Address = {
        linkIndex: link.index,
        ipv6: meshIpv6(ipOf(request.address)),
        prefix: MESH_IPV6_PREFIX,
      };
      const others = ipv6AddressesOf((await kernel(subject, { outside: [listIpv6Addresses()] })).outside).filter(
        (other) => other.linkIndex === ipv6.linkIndex && other.ipv6 !== ipv6.ipv6,
      );
      await kernel(subject, {
        sysctls: ipv6Sysctls(name),
        outside: [...others.map(deleteIpv6Address), addIpv6Address(ipv6), routeLoopback(link.index)],
      });
    }
  }
  return { isNew };
}

/** What makes the device as wanted; undefined: it has to be made anew. */
function changesOf(
  link: Link,
  wanted: VxlanDevice,
  replies: readonly NetlinkReply[],
): readonly NetlinkMessage[] | undefined {
  const is = vxlansOf(replies).get(link.index);
  if (is === undefined || is.vni !== wanted.vni || is.port !== wanted.port) return undefined;
  if (wanted.by !== undefined && is.by !== 0) {
    const isBound = is.by === wanted.by && is.local === wanted.local;
    return isBound ? [] : [bindVxlan(wanted.name, wanted.by)];
  }
  if (is.by !== (wanted.by ?? 0)) return undefined;
  if (wanted.mac !== undefined && link.mac !== wanted.mac) return undefined;
  if (is.local === wanted.local) return [];
  if (is.local === '' || wanted.local === '' || isIPv6(is.local) || isIPv6(wanted.local)) return undefined;
  return [setVxlanLocal(wanted.name, wanted.local)];
}

async function create(
  subject: string,
  wanted: VxlanDevice,
  links: readonly Link[],
  replies: readonly NetlinkReply[],
): Promise<void> {
  const { failures } = await tryKernel({ outside: [createVxlan(wanted)] });
  const [failure] = failures;
  if (failure === undefined) return;
  if (failure.errno !== 'EEXIST' && failure.errno !== 'EADDRINUSE') throw refused(subject, failure);
  const others = vxlansOf(replies);
  const other = links.find(({ index }) => {
    const is = others.get(index);
    return is?.vni === wanted.vni && is.port === wanted.port;
  });
  const who = other === undefined ? 'something else on this node' : `the interface "${other.name}"`;
  const what =
    failure.errno === 'EEXIST'
      ? `VXLAN identifier ${wanted.vni} on UDP port ${wanted.port}`
      : `UDP port ${wanted.port}`;
  throw new TsswarmError('NETWORK_FAILED', `cannot connect ${subject} with other nodes: ${who} uses ${what}`, {
    hint:
      other === undefined
        ? 'where Docker runs a swarm on the same machines, make the cluster with another port: tsswarm init --data-path-port'
        : `see "ip -details link show ${other.name}" who made it: remove it, or make the network anew, which then gets another identifier`,
  });
}

/** The mesh address is the only one of its link. */
async function setAddress(
  subject: string,
  linkIndex: number,
  text: string,
  replies: readonly NetlinkReply[],
): Promise<void> {
  const wanted = { linkIndex, ipv4: ipOf(text), prefix: parseSubnet(text).prefix };
  const own = addressesOf(replies).filter((address) => address.linkIndex === linkIndex);
  const isWanted = ({ ipv4, prefix }: { readonly ipv4: string; readonly prefix: number }): boolean =>
    ipv4 === wanted.ipv4 && prefix === wanted.prefix;
  const changes = own.filter((address) => !isWanted(address)).map(deleteAddress);
  if (!own.some(isWanted)) changes.push(addAddress(wanted));
  if (changes.length > 0) await kernel(subject, { outside: changes });
}

const ipOf = (cidr: string): string => cidr.split('/')[0] ?? '';

async function apply(id: TunnelId, { remove, put }: TunnelChange): Promise<void> {
  const subject = `tunnel "${nameOf(id)}"`;
  const bridged = !isBare(id);
  const { outside } = await kernel(subject, { outside: [getLink(nameOf(id))] });
  const [tunnel] = linksOf(outside);
  if (tunnel === undefined)
    throw new TsswarmError('NETWORK_FAILED', `cannot change ${subject}: it is not on this node any more`);
  const holder = bridged ? tunnel.master : tunnel.index;
  const ips = ({ ipv4, ipv6 }: TunnelEntry): string[] =>
    [ipv4, (bridged || hasIpv6()) && ipv6 !== undefined ? ipv6 : ''].filter((ip) => ip !== '');
  const messages = [
    ...remove.flatMap((entry) => [
      ...ips(entry).map((ip) => deleteNeighbour(holder, ip)),
      ...deleteForwarding(tunnel.index, entry.mac, bridged),
    ]),
    ...put.flatMap((entry) => [
      putForwarding(tunnel.index, entry.mac, entry.peer, bridged),
      ...ips(entry).map((ip) => putNeighbour(holder, ip, entry.mac)),
    ]),
  ];
  for (let first = 0; first < messages.length; first += LOT)
    await kernel(subject, { outside: messages.slice(first, first + LOT) });
}
