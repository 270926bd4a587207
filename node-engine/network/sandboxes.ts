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
import { kernel, refused, tryKernel } from './kernel.ts';
import { bridgeName, vethName } from './names.ts';
import type { NetlinkMessage } from './netlink.ts';
import type { Address, Link } from './route.ts';
import {
  addAddress,
  addressesOf,
  createVeth,
  deleteLink,
  getLink,
  linksOf,
  listAddresses,
  listLinks,
  setDefaultRoute,
  setHairpin,
  setLink,
  setLinkDown,
  setNoLinkLocal,
} from './route.ts';

const NSFS_MAGIC = 0x6e736673;
const LOOPBACK = 1;
/** A new namespace may hold fallback tunnels of the kernel with low numbers. */
const FIRST_INDEX = 100;

/** As Docker sets them: an image's server binds port 80 and `ping` works without privileges. Loopback keeps its ::1. */
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['net/ipv4/ip_unprivileged_port_start', '0'],
  ['net/ipv4/ping_group_range', '0 2147483647'],
  ['-net/ipv6/conf/default/disable_ipv6', '1'],
];

/** An interface to make: `eth<ordinal>` with an index that is free. */
interface Planned {
  readonly interface: SandboxInterface;
  readonly bridge: Link;
  readonly ordinal: number;
  readonly index: number;
}

/**
 * @param directory where the namespaces' files are, one per container: `<run-dir>/engine/netns`; made if missing
 */
export function createSandboxes(directory: string): Sandboxes & { close(): void } {
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  const queue = new KeyedQueue();
  const node = openSync('/proc/self/ns/net', 'r');
  const pathOf = (id: ContainerId): string => join(directory, id);

  return {
    async create(id, request) {
      if (request.mode === 'host') return '';
      return queue.run(id, () => ensure(id, pathOf(id), request, node));
    },
    path: (id) => (isNamespace(pathOf(id)) ? pathOf(id) : ''),
    async remove(id) {
      await queue.run(id, () => remove(id, pathOf(id)));
    },
    async list() {
      return (await readdir(directory)) as ContainerId[];
    },
    close: () => closeSync(node),
  };
}

async function ensure(id: ContainerId, path: string, request: SandboxRequest, node: number): Promise<string> {
  const interfaces = request.mode === 'none' ? [] : request.interfaces;
  const bridges = await bridgesOf(id, interfaces);
  if (isNamespace(path)) {
    await repair(id, path, interfaces, bridges, node);
    return path;
  }
  forget(path);
  const plan = interfaces.map((wanted, position) => planned(wanted, bridges, position, FIRST_INDEX + position));
  try {
    const loopback = setLink(LOOPBACK, {});
    await connect(id, path, plan, node, { create: true, sysctls: SYSCTLS, first: [loopback] });
  } catch (error) {
    forget(path);
    throw error;
  }
  return path;
}

/** Adds the interfaces that are missing, removes those that are too many and joins all to their bridges again. */
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
    inside: [setLink(LOOPBACK, {}), listLinks(), listAddresses()],
  });
  const links = linksOf(inside).filter(({ name }) => /^eth\d+$/.test(name));
  const addresses = addressesOf(inside);
  const holder = ({ ipv4, prefix }: SandboxInterface): Link | undefined => {
    const held = addresses.find((address: Address) => address.ipv4 === ipv4 && address.prefix === prefix);
    return links.find(({ index }) => index === held?.linkIndex);
  };
  const kept = interfaces.filter(holder);
  const surplus = links.filter((link) => !kept.some((wanted) => holder(wanted) === link));
  if (surplus.length > 0) await kernel(subject, { netns: path, inside: surplus.map(({ name }) => deleteLink(name)) });

  const ordinals = new Set(kept.map((wanted) => ordinalOf(holder(wanted))));
  let ordinal = 0;
  let index = Math.max(FIRST_INDEX - 1, ...linksOf(inside).map((link) => link.index));
  const missing = interfaces
    .filter((wanted) => !holder(wanted))
    .map((wanted) => {
      while (ordinals.has(ordinal)) ordinal++;
      return planned(wanted, bridges, ordinal++, ++index);
    });
  const rejoin = kept.flatMap((wanted) => {
    const { bridge, ordinal } = planned(wanted, bridges, ordinalOf(holder(wanted)), 0);
    return joinBridge(vethName(id, ordinal), bridge);
  });
  if (rejoin.length > 0) await kernel(subject, { outside: rejoin });
  await connect(id, path, missing, node, {});
  const gateway = interfaces.find((wanted) => wanted.gateway !== '');
  const through = gateway && holder(gateway);
  if (through) await kernel(subject, { netns: path, inside: [setDefaultRoute(gateway.gateway, through.index)] });
}

interface ConnectOptions {
  readonly create?: boolean;
  readonly sysctls?: typeof SYSCTLS;
  readonly first?: readonly NetlinkMessage[];
}

/** Makes the interfaces on both sides, and the namespace if asked to, on one thread. */
async function connect(
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
    ...plan.flatMap(({ interface: { ipv4, prefix }, bridge, ordinal, index }) => [
      createVeth({
        index,
        name: `eth${ordinal}`,
        mac: macOf(ipv4),
        mtu: bridge.mtu,
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
  const bridge = bridges.get(bridgeName(wanted.networkId));
  if (!bridge)
    throw new TsswarmError(
      'NETWORK_FAILED',
      `cannot join network "${wanted.networkId}": its bridge is not on this node`,
    );
  return { interface: wanted, bridge, ordinal, index };
}

async function bridgesOf(id: ContainerId, interfaces: readonly SandboxInterface[]): Promise<ReadonlyMap<string, Link>> {
  if (interfaces.length === 0) return new Map();
  const names = interfaces.map(({ networkId }) => bridgeName(networkId));
  const { outside } = await kernel(subjectOf(id), { outside: names.map(getLink) });
  return new Map(linksOf(outside).map((link) => [link.name, link]));
}

async function remove(id: ContainerId, path: string): Promise<void> {
  if (isNamespace(path)) {
    // The kernel takes the interfaces away in its own time, and would answer for the addresses until then.
    const { inside } = await kernel(subjectOf(id), { netns: path, inside: [listLinks()] });
    const names = linksOf(inside).flatMap(({ name }) => (/^eth\d+$/.test(name) ? [name] : []));
    await tryKernel({ netns: path, inside: names.map(setLinkDown) });
  }
  forget(path);
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

function ordinalOf(link: Link | undefined): number {
  return Number(link?.name.slice('eth'.length) ?? 0);
}

function subjectOf(id: ContainerId): string {
  return `container "${id.slice(0, 12)}"`;
}
