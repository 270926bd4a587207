/** Network namespaces of containers, each kept by a file, with a pair of interfaces to each bridge. */
import { closeSync, mkdirSync, openSync, statfsSync, unlinkSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerId } from '../../base/ids.ts';
import { KeyedQueue } from '../../base/async.ts';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import { MNT, umount } from '../native/addon.ts';
import type { SandboxInterface, SandboxRequest, Sandboxes } from '../types.ts';
import { macOf } from './address.ts';
import { ipv6Sysctls } from './ipv6.ts';
import { createDirect, renameLink } from './direct-link.ts';
import { kernel, refused, tryKernel } from './kernel.ts';
import { listeningPorts } from './listeners.ts';
import { LingeringLinks } from './lingering-links.ts';
import type { LingeringLink } from './lingering-links.ts';
import { checkInterfaces, mendInterfaces } from './sandbox-drift.ts';
import { bridgeName, isVethOf, vethName } from './names.ts';
import type { NetlinkMessage } from './netlink.ts';
import type { Address, Link } from './route.ts';
import {
  addAddress,
  addressesOf,
  createVeth,
  deleteAddress,
  deleteLink,
  getLink,
  linksOf,
  listAddresses,
  listLinks,
  setDefaultRoute,
  setDeviceRoute,
  setHairpin,
  setLink,
  setLinkDown,
  setMac,
  setNoLinkLocal,
} from './route.ts';
import {
  addIpv6Address,
  deleteIpv6Address,
  ipv6AddressesOf,
  listIpv6Addresses,
  setIpv6DefaultRoute,
} from './route-ipv6.ts';

const NSFS_MAGIC = 0x6e736673;
const LOOPBACK = 1;
/** A new namespace may hold fallback tunnels of the kernel with low numbers. */
const FIRST_INDEX = 100;
/** Marks our interfaces in a container, whatever they are called: it may make others. */
const GROUP = 0x7473;

/** As Docker sets them: an image's server binds port 80 and `ping` works without privileges. Loopback keeps its ::1. */
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['net/ipv4/ip_unprivileged_port_start', '0'],
  ['net/ipv4/ping_group_range', '0 2147483647'],
  ['-net/ipv6/conf/default/disable_ipv6', '1'],
];

/** An interface to make with an index that is free. */
interface Planned {
  readonly interface: SandboxInterface;
  /** Of one that is on a card of the node: the card. */
  readonly bridge: Link;
  /** Names it, "eth0" unless something else is asked for, and the node's end. */
  readonly ordinal: number;
  readonly index: number;
}

/**
 * @param directory where the namespaces' files are, one per container: `<run-dir>/engine/netns`; made if missing
 */
export function createSandboxes(directory: string): Sandboxes & { close(): Promise<void> } {
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  const queue = new KeyedQueue();
  const lingering = new LingeringLinks();
  const node = openSync('/proc/self/ns/net', 'r');
  const pathOf = (id: ContainerId): string => join(directory, id);

  return {
    async create(id, request) {
      if (request.mode === 'host') return '';
      if (request.mode === 'container') return shared(id, request, pathOf);
      return queue.run(id, () => ensure(id, pathOf(id), request, node));
    },
    async check(id, request, side) {
      if (request.mode !== 'networks') return [];
      return queue.run(id, async () =>
        isNamespace(pathOf(id)) ? checkInterfaces(id, pathOf(id), request.interfaces, side) : [],
      );
    },
    async mend(id, request, side) {
      if (request.mode !== 'networks') return;
      await queue.run(id, async () => {
        const isWhole = await mendInterfaces(id, pathOf(id), request.interfaces, side);
        if (!isWhole) await ensure(id, pathOf(id), request, node);
      });
    },
    path: (id) => (isNamespace(pathOf(id)) ? pathOf(id) : ''),
    async listening(id) {
      return isNamespace(pathOf(id)) ? listeningPorts(pathOf(id)) : undefined;
    },
    async remove(id) {
      lingering.add(await queue.run(id, () => remove(id, pathOf(id))));
    },
    async list() {
      return (await readdir(directory)) as ContainerId[];
    },
    async close() {
      await lingering.close();
      closeSync(node);
    },
  };
}

/** @throws NETWORK_FAILED while the other container has no namespace */
function shared(id: ContainerId, { container }: SandboxRequest, pathOf: (id: ContainerId) => string): string {
  const path = container === undefined ? '' : pathOf(container);
  if (path !== '' && isNamespace(path)) return path;
  throw new TsswarmError(
    'NETWORK_FAILED',
    `cannot set up ${subjectOf(id)}: the container "${container?.slice(0, 12) ?? ''}", whose network it shares, has none`,
  );
}

async function ensure(id: ContainerId, path: string, request: SandboxRequest, node: number): Promise<string> {
  const interfaces = request.mode === 'none' ? [] : request.interfaces;
  const bridges = await bridgesOf(id, interfaces);
  if (isNamespace(path)) {
    await repair(id, path, interfaces, bridges, node);
    return path;
  }
  forget(path);
  const ordinals = freeOrdinals(id, interfaces, []);
  const plan = interfaces.map((wanted, i) => planned(wanted, bridges, ordinals[i] ?? i, FIRST_INDEX + i));
  try {
    const loopback = setLink(LOOPBACK, {});
    await connect(id, path, plan, node, { create: true, sysctls: SYSCTLS, first: [loopback] });
  } catch (error) {
    forget(path);
    throw error;
  }
  return path;
}

/**
 * Makes a namespace that is there what it shall be: joins what stays to its bridge again, adds what is missing, sends packets out by the
 * new way, and takes away what is too much last, so that nothing that stays notices.
 */
async function repair(
  id: ContainerId,
  path: string,
  interfaces: readonly SandboxInterface[],
  bridges: ReadonlyMap<string, Link>,
  node: number,
): Promise<void> {
  const subject = subjectOf(id);
  const { inside } = await kernel(subject, {
    netns: path,
    inside: [setLink(LOOPBACK, {}), listLinks(), listAddresses(), listIpv6Addresses()],
  });
  const all = linksOf(inside);
  const links = all.filter(isOurs);
  const addresses = addressesOf(inside);
  const ends = await endsOf(id, links);
  const held = holdersOf(interfaces, { links, addresses, ends, bridges });
  const surplus = links.filter((link) => ![...held.values()].includes(link));
  const absent = interfaces.filter((wanted) => !held.has(wanted));
  const isInTheWay = ({ name }: Link): boolean => absent.some((wanted) => wanted.name === name);
  await removeLinks(subject, path, surplus.filter(isInTheWay));
  const there = links.filter((link) => !surplus.includes(link) || !isInTheWay(link));

  const taken = there.flatMap((link) => [link.name, ends.get(link)?.name ?? '']);
  const ordinals = freeOrdinals(id, absent, taken);
  const index = Math.max(FIRST_INDEX - 1, ...all.map((link) => link.index)) + 1;
  const missing = absent.map((wanted, i) => planned(wanted, bridges, ordinals[i] ?? i, index + i));
  const rejoin = [...held].flatMap(([wanted, link]) => {
    const end = ends.get(link);
    if (!end || wanted.direct) return [];
    const { bridge } = planned(wanted, bridges, 0, 0);
    return end.up && end.master === bridge.index ? [] : joinBridge(end.name, bridge);
  });
  if (rejoin.length > 0) await kernel(subject, { outside: rejoin });
  const changes = [...held].flatMap(([wanted, link]) => corrections(wanted, link, addresses));
  const gateway = interfaces.find((wanted) => wanted.gateway !== '');
  const through = gateway && held.get(gateway);
  const first = through ? [...changes, routeOut(gateway, through.index)] : changes;
  await connect(id, path, missing, node, { first });
  const kept = [...held].map(([wanted, { name, index: linkIndex }]) => ({ interface: wanted, name, index: linkIndex }));
  const withIpv6 = new Set(ipv6AddressesOf(inside).map(({ linkIndex }) => linkIndex));
  if (kept.some((one) => one.interface.ipv6 !== undefined || withIpv6.has(one.index)))
    await giveIpv6(subject, path, kept);
  await removeLinks(
    subject,
    path,
    surplus.filter((link) => !isInTheWay(link)),
  );
}

async function removeLinks(subject: string, path: string, links: readonly Link[]): Promise<void> {
  if (links.length > 0) await kernel(subject, { netns: path, inside: links.map(({ name }) => deleteLink(name)) });
}

/** The node's end of each interface, by the kernel's own word; a container may have made interfaces of others' ends. */
async function endsOf(id: ContainerId, links: readonly Link[]): Promise<ReadonlyMap<Link, Link>> {
  const paired = links.filter(({ peer }) => peer > 0);
  if (paired.length === 0) return new Map();
  const { outside } = await kernel(subjectOf(id), { outside: paired.map(({ peer }) => getLink(peer)) });
  const found = linksOf(outside);
  return new Map(
    paired.flatMap((link) => {
      const end = found.find(({ index, name }) => index === link.peer && isVethOf(id, name));
      return end ? [[link, end] as const] : [];
    }),
  );
}

interface SandboxState {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** The node's end of each link, where it is known. */
  readonly ends: ReadonlyMap<Link, Link>;
  readonly bridges: ReadonlyMap<string, Link>;
}

/** Which link is which wanted interface: the one with its address, else one on its network that has another address. */
function holdersOf(
  interfaces: readonly SandboxInterface[],
  { links, addresses, ends, bridges }: SandboxState,
): ReadonlyMap<SandboxInterface, Link> {
  const held = new Map<SandboxInterface, Link>();
  const give = (wanted: SandboxInterface, isIt: (link: Link) => boolean): void => {
    const others = [...held.values()];
    const link = links.find(
      (one) => !others.includes(one) && (wanted.name === undefined || one.name === wanted.name) && isIt(one),
    );
    if (link !== undefined) held.set(wanted, link);
  };
  for (const wanted of interfaces) give(wanted, (link) => hasAddress(wanted, link, addresses));
  for (const wanted of interfaces.filter((one) => !held.has(one))) {
    const bridge = bridges.get(bridgeName(wanted.networkId));
    give(wanted, (link) => bridge !== undefined && ends.get(link)?.master === bridge.index);
  }
  return held;
}

const hasAddress = ({ ipv4, prefix }: SandboxInterface, { index }: Link, addresses: readonly Address[]): boolean =>
  addresses.some((address) => address.linkIndex === index && address.ipv4 === ipv4 && address.prefix === prefix);

/** What makes a link the wanted interface. The old address goes first: with it would go a second one of its subnet. */
function corrections(wanted: SandboxInterface, link: Link, addresses: readonly Address[]): readonly NetlinkMessage[] {
  const mac = wanted.macAddress ?? macOf(wanted.ipv4);
  // All interfaces of ipvlan have the address of their card.
  const isFixed = wanted.direct?.driver === 'ipvlan' || link.mac === mac.toLowerCase();
  const changes = isFixed ? [] : [setMac(link.index, mac)];
  if (hasAddress(wanted, link, addresses)) return changes;
  const { ipv4, prefix } = wanted;
  const old = addresses.filter(({ linkIndex }) => linkIndex === link.index);
  return [...changes, ...old.map(deleteAddress), addAddress({ linkIndex: link.index, ipv4, prefix })];
}

/** A number for each interface, so that neither its name nor that of the node's end is one that is taken or asked for. */
function freeOrdinals(
  id: ContainerId,
  interfaces: readonly SandboxInterface[],
  taken: readonly string[],
): readonly number[] {
  const names = new Set([...taken, ...interfaces.flatMap(({ name }) => name ?? [])]);
  let ordinal = -1;
  return interfaces.map(({ name }) => {
    do ordinal++;
    while (names.has(vethName(id, ordinal)) || (name === undefined && names.has(`eth${ordinal}`)));
    return ordinal;
  });
}

/** Before interfaces could have other names, they were known by it. */
function isOurs({ name, group }: Link): boolean {
  return group === GROUP || /^eth\d+$/.test(name);
}

/** Gives interfaces that are there their IPv6 addresses and takes others from them; the default route by the first that has one. */
async function giveIpv6(
  subject: string,
  path: string,
  interfaces: readonly { readonly interface: SandboxInterface; readonly name: string; readonly index: number }[],
): Promise<void> {
  const wanted = interfaces.flatMap(({ interface: { ipv6 }, name, index }) => (ipv6 ? [{ ...ipv6, name, index }] : []));
  const { inside } = await kernel(subject, { netns: path, inside: [listIpv6Addresses()] });
  const surplus = ipv6AddressesOf(inside).filter(
    ({ linkIndex, ipv6 }) =>
      interfaces.some(({ index }) => index === linkIndex) &&
      !wanted.some(({ index, address }) => index === linkIndex && address === ipv6),
  );
  if (wanted.length + surplus.length === 0) return;
  const through = wanted.find(({ gateway }) => gateway !== '');
  await kernel(subject, {
    netns: path,
    sysctls: wanted.flatMap(({ name }) => ipv6Sysctls(name)),
    inside: [
      ...surplus.map(deleteIpv6Address),
      ...wanted.map(({ index, address, prefix }) => addIpv6Address({ linkIndex: index, ipv6: address, prefix })),
      ...(through ? [setIpv6DefaultRoute(through.gateway, through.index)] : []),
    ],
  });
}

interface ConnectOptions {
  readonly create?: boolean;
  readonly sysctls?: typeof SYSCTLS;
  readonly first?: readonly NetlinkMessage[];
}

/** Makes the interfaces on both sides, and the namespace if asked to. */
async function connect(
  id: ContainerId,
  path: string,
  all: readonly Planned[],
  node: number,
  { create = false, sysctls = [], first = [] }: ConnectOptions,
): Promise<void> {
  const subject = subjectOf(id);
  const plan = all.filter((wanted) => !wanted.interface.direct);
  await connectPairs(id, path, plan, node, { create, sysctls, first });
  const made = [
    ...plan.map(({ interface: wanted, ordinal, index }) => ({
      interface: wanted,
      name: wanted.name ?? `eth${ordinal}`,
      index,
    })),
    ...(await connectDirectly(id, path, all)),
  ];
  if (made.some((one) => one.interface.ipv6)) await giveIpv6(subject, path, made);
}

/** The route of an interface that leads out. In the modes of ipvlan that route, nobody is asked for the gateway's hardware address. */
function routeOut({ gateway, direct }: SandboxInterface, index: number): NetlinkMessage {
  return direct?.driver === 'ipvlan' && direct.mode !== 'l2' ? setDeviceRoute(index) : setDefaultRoute(gateway, index);
}

/** Interfaces on cards of the node. Each is made under a name that is free on both sides, with an index of the kernel's choice. */
async function connectDirectly(
  id: ContainerId,
  path: string,
  plan: readonly Planned[],
): Promise<readonly { readonly interface: SandboxInterface; readonly name: string; readonly index: number }[]> {
  const subject = subjectOf(id);
  const made = [];
  for (const { interface: wanted, bridge: card, ordinal } of plan) {
    const { direct, ipv4, prefix, macAddress } = wanted;
    if (!direct) continue;
    const passing = vethName(id, ordinal);
    const netns = openSync(path, 'r');
    try {
      const mac = macAddress ?? macOf(ipv4);
      const mtu = direct.mtu === 0 ? card.mtu : direct.mtu;
      const link = createDirect({ link: direct, parent: card.index, name: passing, mac, mtu, group: GROUP, netns });
      await kernel(subject, { outside: [link] });
    } finally {
      closeSync(netns);
    }
    const [link] = linksOf((await kernel(subject, { netns: path, inside: [getLink(passing)] })).inside);
    if (!link) throw new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: its link has vanished`);
    const name = wanted.name ?? `eth${ordinal}`;
    await kernel(subject, { netns: path, inside: [renameLink(link.index, name)] });
    await kernel(subject, {
      netns: path,
      // Others on the wire may remember the address of who had it before: they are told when the link goes up.
      sysctls: [[`-net/ipv4/conf/${name}/arp_notify`, '1']],
      inside: [
        addAddress({ linkIndex: link.index, ipv4, prefix }),
        setLink(link.index, {}),
        ...(wanted.gateway === '' ? [] : [routeOut(wanted, link.index)]),
      ],
    });
    made.push({ interface: wanted, name, index: link.index });
  }
  return made;
}

/** Makes pairs of interfaces, and the namespace if asked to, on one thread. */
async function connectPairs(
  id: ContainerId,
  path: string,
  plan: readonly Planned[],
  node: number,
  { create = false, sysctls = [], first = [] }: ConnectOptions,
): Promise<void> {
  const subject = subjectOf(id);
  const gateway = plan.find((wanted) => wanted.interface.gateway !== '');
  const inside = [
    ...first,
    ...plan.flatMap(({ interface: { ipv4, prefix, macAddress, name }, bridge, ordinal, index }) => [
      createVeth({
        index,
        name: name ?? `eth${ordinal}`,
        mac: macAddress ?? macOf(ipv4),
        mtu: bridge.mtu,
        group: GROUP,
        peerName: vethName(id, ordinal),
        peerNetns: node,
      }),
      addAddress({ linkIndex: index, ipv4, prefix }),
    ]),
    ...(gateway ? [setDefaultRoute(gateway.interface.gateway, gateway.index)] : []),
  ];
  const outside = plan.flatMap(({ bridge, ordinal }) => joinBridge(vethName(id, ordinal), bridge));
  if (inside.length === 0 && !create) return;
  let outcome = await attempt(subject, { netns: path, create, sysctls, inside, outside });
  if (outcome.failures.some(({ errno }) => errno === 'EEXIST')) {
    // The interfaces of a sandbox of this container that was removed just now: the kernel cleans up in its own time.
    await kernel(subject, { outside: plan.map(({ ordinal }) => deleteLink(vethName(id, ordinal))) });
    outcome = await attempt(subject, { netns: path, inside, outside });
  }
  const [failure] = outcome.failures;
  if (failure) throw refused(subject, failure);
}

async function attempt(subject: string, request: Parameters<typeof tryKernel>[0]): ReturnType<typeof tryKernel> {
  try {
    return await tryKernel(request);
  } catch (cause) {
    throw new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: ${(cause as Error).message}`, { cause });
  }
}

/** Makes the node's end a port of the bridge. */
function joinBridge(veth: string, bridge: Link): readonly NetlinkMessage[] {
  return [setNoLinkLocal(veth), setLink(veth, { master: bridge.index }), setHairpin(veth)];
}

function planned(
  wanted: SandboxInterface,
  bridges: ReadonlyMap<string, Link>,
  ordinal: number,
  index: number,
): Planned {
  const bridge = bridges.get(wanted.direct?.parent ?? bridgeName(wanted.networkId));
  if (!bridge)
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot join network "${wanted.networkId}": ${wanted.direct ? `there is no interface "${wanted.direct.parent}"` : 'its bridge is not'} on this node`,
    );
  return { interface: wanted, bridge, ordinal, index };
}

/** The bridges and cards that the interfaces are on. */
async function bridgesOf(id: ContainerId, interfaces: readonly SandboxInterface[]): Promise<ReadonlyMap<string, Link>> {
  if (interfaces.length === 0) return new Map();
  const names = interfaces.map(({ networkId, direct }) => direct?.parent ?? bridgeName(networkId));
  const { outside } = await kernel(subjectOf(id), { outside: names.map(getLink) });
  return new Map(linksOf(outside).map((link) => [link.name, link]));
}

/** @returns what the kernel takes away in its own time */
async function remove(id: ContainerId, path: string): Promise<readonly LingeringLink[]> {
  if (!isNamespace(path)) {
    forget(path);
    return [];
  }
  const { inside } = await kernel(subjectOf(id), { netns: path, inside: [listLinks()] });
  const links = linksOf(inside).filter(isOurs);
  // They would answer for the addresses until then. An ipvlan link keeps its addresses from all others on the card also when it is down.
  // Deleting others only takes longer.
  const end = ({ name, kind }: Link): NetlinkMessage => (kind === 'ipvlan' ? deleteLink(name) : setLinkDown(name));
  await tryKernel({ netns: path, inside: links.map(end) });
  forget(path);
  return links.flatMap(({ peer }) => (peer > 0 ? [{ id, index: peer }] : []));
}

/** Lets go of a namespace; not existing is success. */
function forget(path: string): void {
  try {
    while (isNamespace(path)) umount(path, MNT.DETACH);
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Whether the file is a namespace: after a restart of the machine it is an empty file. */
function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

function subjectOf(id: ContainerId): string {
  return `container "${id.slice(0, 12)}"`;
}
