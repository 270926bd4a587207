/**
 * The links that packets of encrypted networks take: WireGuard, of the kernel or, where it has none, by wireguard-go. Both are set up
 * by wg(8). They live on when the daemon ends, with their keys; when a key was made stands in its link's alias.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { SecureKey, SecureLink, SecurePeer, SecureRequest, SecureSession, SecureSlot } from '../types.ts';
import { parseSubnet } from './address.ts';
import { kernel, tryKernel } from './kernel.ts';
import { formatSecureAlias, parseSecureAlias } from './names.ts';
import type { NetlinkMessage } from './netlink.ts';
import { NLM_F, attribute, text } from './netlink.ts';
import {
  IFLA,
  RTM,
  addAddress,
  addressesOf,
  deleteAddress,
  deleteHostRoute,
  deleteLink,
  getLink,
  linkHeader,
  linkInfo,
  linksOf,
  listRoutes,
  routesOf,
  setHostRoute,
} from './route.ts';
import { listAddresses, listLinks, setLink } from './route.ts';
import { secureMtu } from './underlay.ts';

const SUBJECT = 'the encrypted way to other nodes';
/** PKCS #8 around the 32 bytes of an X25519 key (RFC 8410). */
const KEY_HEADER = Buffer.from('302e020100300506032b656e04220420', 'hex');
/** How often a peer that is tried is asked, in seconds. */
const TRY_S = 5;
/** Peers in one command. */
const LOT = 200;

export const SECURE_SLOTS = ['main', 'alternate'] as const satisfies readonly SecureSlot[];

/** "tsw-8610a31e": sockets of wireguard-go lie in one folder for all nodes of a machine, so the name tells them apart. */
export const secureName = (instance: string, slot: SecureSlot): string =>
  `tsw-${instance.slice(0, 10)}${slot === 'main' ? '' : 'b'}`;

interface OwnKey extends SecureKey {
  readonly privateKey: string;
  /** Its link has been made. */
  readonly isMade: boolean;
}

export function createSecureLink(instance: string): SecureLink {
  const nameOf = (slot: SecureSlot): string => secureName(instance, slot);
  /** The oldest first; undefined: nobody has looked. */
  let keys: readonly OwnKey[] | undefined;
  let unable: string | undefined;
  /** Of links that were found, by name. */
  let aliases: ReadonlyMap<string, string> = new Map();

  const keysOf = (): readonly OwnKey[] => {
    if (keys !== undefined) return keys;
    unable = whyNot();
    if (unable !== undefined) return (keys = []);
    const running = SECURE_SLOTS.flatMap(
      (slot) => runningKey(slot, nameOf(slot), aliases.get(nameOf(slot)) ?? '') ?? [],
    );
    return (keys = running.length > 0 ? sorted(running) : [newKey('main', Date.now())]);
  };
  const demandKeys = (): readonly OwnKey[] => {
    const own = keysOf();
    if (own.length > 0) return own;
    throw new TsswarmError('NOT_SUPPORTED', `cannot set up ${SUBJECT}: ${unable}`, {
      hint: 'apt-get install wireguard-tools, and wireguard-go where the kernel has no WireGuard',
    });
  };
  const isUp = async (slot: SecureSlot): Promise<boolean> =>
    linksOf((await kernel(SUBJECT, { outside: [getLink(nameOf(slot))] })).outside).some(({ up }) => up);

  return {
    async recover() {
      const { outside } = await tryKernel({ outside: SECURE_SLOTS.map((slot) => getLink(nameOf(slot))) });
      aliases = new Map(linksOf(outside).map(({ name, alias }) => [name, alias]));
    },
    keys: () => keysOf().map(({ slot, publicKey, madeAt }) => ({ slot, publicKey, madeAt })),
    addKey(slot, madeAt) {
      keys = sorted([...demandKeys().filter((key) => key.slot !== slot), newKey(slot, madeAt)]);
    },
    async isThere() {
      const made = keysOf().filter(({ isMade }) => isMade);
      return made.length > 0 && (await Promise.all(made.map(({ slot }) => isUp(slot)))).every(Boolean);
    },
    async ensure(request) {
      const own = demandKeys();
      let isNew = false;
      for (const link of request.links) {
        const key = own.find(({ slot }) => slot === link.slot);
        if (key === undefined) continue;
        const name = nameOf(link.slot);
        if (!(await isUp(link.slot))) {
          isNew = true;
          await make(name);
        }
        await configure(name, key.privateKey, link);
        await bringUp(name, link.address, request.local, formatSecureAlias(instance, key.madeAt));
        keys = keysOf().map((one) => (one.publicKey === key.publicKey ? { ...one, isMade: true } : one));
      }
      await setRoutes(request, nameOf);
      return { isNew };
    },
    async sessions() {
      const made = keysOf().filter(({ isMade }) => isMade);
      const shown = await Promise.all(made.map(async ({ slot }) => sessionsOf(slot, await show(nameOf(slot)))));
      return shown.flat();
    },
    async remove(slot) {
      // wireguard-go ends with its link.
      const gone = slot === undefined ? SECURE_SLOTS : [slot];
      await kernel(SUBJECT, { outside: gone.map((one) => deleteLink(nameOf(one))) });
      const left = slot === undefined ? (keys ?? []).slice(-1) : (keys ?? []).filter((key) => key.slot !== slot);
      if (keys !== undefined) keys = left.map((key) => (gone.includes(key.slot) ? { ...key, isMade: false } : key));
    },
  };
}

const sorted = (keys: readonly OwnKey[]): readonly OwnKey[] => keys.toSorted((a, b) => a.madeAt - b.madeAt);

/** Why this node has no encrypted networks; undefined: it can have them. */
function whyNot(): string | undefined {
  if (!isProgram('wg')) return 'the program "wg" is not installed';
  if (isProgram('wireguard-go')) return undefined;
  const { status } = spawnSync('modprobe', ['--dry-run', '--quiet', 'wireguard'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'the kernel has no WireGuard, and "wireguard-go" is not installed';
}

function isProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Of a link that an earlier daemon made: others know this key. */
function runningKey(slot: SecureSlot, name: string, alias: string): OwnKey | undefined {
  if (networkInterfaces()[name] === undefined) return undefined;
  const { status, stdout } = spawnSync('wg', ['show', name, 'private-key'], { encoding: 'utf8', timeout: 5000 });
  const privateKey = stdout.trim();
  if (status !== 0 || Buffer.from(privateKey, 'base64').length !== 32) return undefined;
  const key = createPrivateKey({
    key: Buffer.concat([KEY_HEADER, Buffer.from(privateKey, 'base64')]),
    format: 'der',
    type: 'pkcs8',
  });
  const publicKey = base64(createPublicKey(key).export({ format: 'jwk' }).x);
  // One of a daemon that did not write it down counts from now.
  const madeAt = parseSecureAlias(alias) ?? Date.now();
  return { slot, privateKey, publicKey, madeAt, isMade: true };
}

function newKey(slot: SecureSlot, madeAt: number): OwnKey {
  const { d, x } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  return { slot, privateKey: base64(d), publicKey: base64(x), madeAt, isMade: false };
}

const base64 = (url: string | undefined): string => Buffer.from(url ?? '', 'base64url').toString('base64');

/** In the format of wg(8). */
export function configuration(privateKey: string, { port, peers }: SecureRequest['links'][number]): string {
  const sections = peers.map(({ publicKey, endpoint, port: theirs, address, isTried }) => {
    const host = isIPv6(endpoint) ? `[${endpoint}]` : endpoint;
    const tried = isTried ? `PersistentKeepalive = ${TRY_S}\n` : '';
    return `[Peer]\nPublicKey = ${publicKey}\nEndpoint = ${host}:${theirs}\nAllowedIPs = ${address}/32\n${tried}`;
  });
  return [`[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${port}\n`, ...sections].join('');
}

/** Of what `wg show … dump` prints: a line of the link, and one for each peer. */
export function sessionsOf(slot: SecureSlot, dump: string): readonly SecureSession[] {
  const [, ...peers] = dump.trim().split('\n');
  return peers.map((line) => {
    const [publicKey = '', , , , handshake = '0', received = '0'] = line.split('\t');
    return { slot, publicKey, isProven: Number(handshake) > 0, receivedBytes: Number(received) };
  });
}

/** Tells the link what is new only: to be told again what it knows costs a peer packets that are under way just then. */
async function configure(name: string, privateKey: string, link: SecureRequest['links'][number]): Promise<void> {
  const dump = await show(name);
  const [own = '', , port = ''] = dump.split('\n', 1)[0]?.split('\t') ?? [];
  if (own !== privateKey || Number(port) !== link.port) {
    // wg opens its file by name, which it cannot do with the socket that is a child's standard input here.
    await run('sh', ['-c', 'cat | wg syncconf "$0" /dev/stdin', name], configuration(privateKey, link));
    return;
  }
  const changes = peerChanges(dump, link.peers);
  for (let first = 0; first < changes.length; first += LOT)
    await run('wg', ['set', name, ...changes.slice(first, first + LOT).flat()], '');
}

/** Arguments of `wg set` that make the peers of what `wg show … dump` printed as wanted, those of a peer together. */
export function peerChanges(dump: string, wanted: readonly SecurePeer[]): readonly (readonly string[])[] {
  const [, ...lines] = dump.trim().split('\n');
  const there = new Map(lines.map((line) => [line.split('\t', 1)[0] ?? '', line.split('\t')]));
  const keys = new Set(wanted.map(({ publicKey }) => publicKey));
  // An address belongs to one peer: who had it goes first.
  const removed = [...there.keys()].filter((key) => !keys.has(key)).map((key) => ['peer', key, 'remove']);
  const changed = wanted.flatMap(({ publicKey, endpoint: host, port, address, isTried }) => {
    const is = there.get(publicKey);
    const endpoint = isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
    const keepalive = isTried ? String(TRY_S) : 'off';
    const change = [
      ...(is?.[2] === endpoint ? [] : ['endpoint', endpoint]),
      ...(is?.[3] === `${address}/32` ? [] : ['allowed-ips', `${address}/32`]),
      ...((is?.[7] ?? 'off') === keepalive ? [] : ['persistent-keepalive', keepalive]),
    ];
    return change.length === 0 ? [] : [['peer', publicKey, ...change]];
  });
  return [...removed, ...changed];
}

async function make(name: string): Promise<void> {
  const { failures } = await tryKernel({ outside: [createWireguard(name)] });
  if (failures.length === 0) return;
  // It goes into the background as soon as the link is there.
  await run('wireguard-go', [name], '');
}

function createWireguard(name: string): NetlinkMessage {
  return {
    what: `make the link "${name}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([linkHeader(0, 0), attribute(IFLA.IFNAME, text(name)), linkInfo('wireguard')]),
    tolerate: ['EEXIST'],
  };
}

async function bringUp(name: string, address: string, local: string, alias: string): Promise<void> {
  const { outside } = await kernel(SUBJECT, { outside: [listLinks(), listAddresses()] });
  const links = linksOf(outside);
  const link = links.find((candidate) => candidate.name === name);
  if (link === undefined)
    throw new TsswarmError('NETWORK_FAILED', `cannot set up ${SUBJECT}: its link "${name}" has vanished`);
  const wanted = { linkIndex: link.index, ipv4: hostOf(address), prefix: parseSubnet(address).prefix };
  const own = addressesOf(outside).filter(({ linkIndex }) => linkIndex === link.index);
  const others = own.filter(({ ipv4, prefix }) => ipv4 !== wanted.ipv4 || prefix !== wanted.prefix);
  const mtu = secureMtu(local, links);
  await kernel(SUBJECT, {
    // While a key is rotated, a peer may send by one link what it is answered by the other.
    sysctls: [[`net/ipv4/conf/${name}/rp_filter`, '2']],
    outside: [...others.map(deleteAddress), addAddress(wanted), setLink(name, { mtu, alias })],
  });
}

/** Each replaces the one before it in one step. Those that lead to nobody any more go. */
async function setRoutes(request: SecureRequest, nameOf: (slot: SecureSlot) => string): Promise<void> {
  const { outside } = await kernel(SUBJECT, { outside: [listLinks(), listRoutes()] });
  const links = linksOf(outside);
  const indexOf = (slot: SecureSlot): number => links.find(({ name }) => name === nameOf(slot))?.index ?? 0;
  const own = new Map(request.links.map(({ slot, address }) => [indexOf(slot), hostOf(address)]));
  const wanted = new Map(request.routes.map(({ to, slot }) => [to, indexOf(slot)]));
  const there = routesOf(outside).filter(
    ({ linkIndex, destination }) => own.has(linkIndex) && destination.endsWith('/32'),
  );
  const stale = there.filter(({ destination }) => !wanted.has(hostOf(destination)));
  await kernel(SUBJECT, {
    outside: [
      ...[...wanted].flatMap(([to, index]) => {
        const isThere = there.some(({ linkIndex, destination }) => linkIndex === index && hostOf(destination) === to);
        return isThere ? [] : [setHostRoute(to, own.get(index) ?? '', index)];
      }),
      ...stale.map(({ destination, linkIndex }) => deleteHostRoute(hostOf(destination), linkIndex)),
    ],
  });
}

const hostOf = (cidr: string): string => cidr.split('/')[0] ?? '';

/** @throws NETWORK_FAILED with what wg(8) says */
async function show(name: string): Promise<string> {
  try {
    return (await promisify(execFile)('wg', ['show', name, 'dump'], { maxBuffer: 16 * 1024 * 1024 })).stdout;
  } catch (error) {
    throw new TsswarmError('NETWORK_FAILED', `asking for the sessions of "${name}": ${messageOf(error)}`);
  }
}

/** Runs a program that says nothing when all is well. @throws NETWORK_FAILED with what it says */
async function run(program: string, argv: readonly string[], input: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // A group of its own: what goes on in the background is not ended with the daemon.
  const child = spawn(program, argv, { stdio: ['pipe', 'ignore', 'pipe'], detached: true });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    if (complaint.length < 4096) complaint += part;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  child.on('error', (cause) =>
    reject(new TsswarmError('NETWORK_FAILED', `cannot run "${program}": ${messageOf(cause)}`, { cause })),
  );
  // Not "close": a process in the background may keep the pipe.
  child.on('exit', (code, signal) => {
    child.stderr.destroy();
    if (code === 0) return resolve();
    const last = complaint.trim().split('\n').at(-1) ?? '';
    reject(
      new TsswarmError(
        'NETWORK_FAILED',
        `cannot set up ${SUBJECT}: ${program}: ${last || `ended with ${signal ?? code}`}`,
      ),
    );
  });
  return promise;
}
