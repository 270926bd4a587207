/**
 * The link that packets of encrypted networks take: WireGuard, of the kernel or, where it has none, by wireguard-go. Both are set up
 * by wg(8). It lives on when the daemon ends, with its key.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { SecureLink, SecureRequest } from '../types.ts';
import { parseSubnet } from './address.ts';
import { kernel, tryKernel } from './kernel.ts';
import type { NetlinkMessage } from './netlink.ts';
import { NLM_F, attribute, nested, text } from './netlink.ts';
import {
  IFLA,
  IFLA_INFO,
  RTM,
  addAddress,
  addressesOf,
  deleteAddress,
  deleteLink,
  getLink,
  linkHeader,
  linksOf,
} from './route.ts';
import { listAddresses, listLinks, setLink } from './route.ts';
import { secureMtu } from './underlay.ts';

const SUBJECT = 'the encrypted way to other nodes';
/** PKCS #8 around the 32 bytes of an X25519 key (RFC 8410). */
const KEY_HEADER = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** "tsw-8610a31e": sockets of wireguard-go lie in one folder for all nodes of a machine, so the name tells them apart. */
export const secureName = (instance: string): string => `tsw-${instance.slice(0, 10)}`;

export function createSecureLink(instance: string): SecureLink {
  const name = secureName(instance);
  let keys: { readonly privateKey: string; readonly publicKey: string } | undefined;
  let unable: string | undefined;

  const keysOf = () => {
    if (keys !== undefined || unable !== undefined) return keys;
    unable = whyNot();
    if (unable === undefined) keys = runningKeys(name) ?? newKeys();
    return keys;
  };
  return {
    publicKey: () => keysOf()?.publicKey,
    async isThere() {
      return linksOf((await kernel(SUBJECT, { outside: [getLink(name)] })).outside).some(({ up }) => up);
    },
    async ensure(request) {
      const own = keysOf();
      if (own === undefined)
        throw new TsswarmError('NOT_SUPPORTED', `cannot set up ${SUBJECT}: ${unable}`, {
          hint: 'apt-get install wireguard-tools, and wireguard-go where the kernel has no WireGuard',
        });
      const isNew = !(await this.isThere());
      if (isNew) await make(name);
      // wg opens its file by name, which it cannot do with the socket that is a child's standard input here.
      await run('sh', ['-c', 'cat | wg syncconf "$0" /dev/stdin', name], configuration(own.privateKey, request));
      await bringUp(name, request);
      return { isNew };
    },
    async remove() {
      // wireguard-go ends with its link.
      await kernel(SUBJECT, { outside: [deleteLink(name)] });
    },
  };
}

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
function runningKeys(name: string): { readonly privateKey: string; readonly publicKey: string } | undefined {
  if (networkInterfaces()[name] === undefined) return undefined;
  const { status, stdout } = spawnSync('wg', ['show', name, 'private-key'], { encoding: 'utf8', timeout: 5000 });
  const privateKey = stdout.trim();
  if (status !== 0 || Buffer.from(privateKey, 'base64').length !== 32) return undefined;
  const key = createPrivateKey({
    key: Buffer.concat([KEY_HEADER, Buffer.from(privateKey, 'base64')]),
    format: 'der',
    type: 'pkcs8',
  });
  return { privateKey, publicKey: base64(createPublicKey(key).export({ format: 'jwk' }).x) };
}

function newKeys(): { readonly privateKey: string; readonly publicKey: string } {
  const { d, x } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  return { privateKey: base64(d), publicKey: base64(x) };
}

const base64 = (url: string | undefined): string => Buffer.from(url ?? '', 'base64url').toString('base64');

/** In the format of wg(8). */
export function configuration(privateKey: string, { port, peers }: SecureRequest): string {
  const sections = peers.map(({ publicKey, endpoint, address }) => {
    const host = isIPv6(endpoint) ? `[${endpoint}]` : endpoint;
    return `[Peer]\nPublicKey = ${publicKey}\nEndpoint = ${host}:${port}\nAllowedIPs = ${address}/32\n`;
  });
  return [`[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${port}\n`, ...sections].join('');
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
    body: Buffer.concat([
      linkHeader(0, 0),
      attribute(IFLA.IFNAME, text(name)),
      nested(IFLA.LINKINFO, attribute(IFLA_INFO.KIND, text('wireguard'))),
    ]),
    tolerate: ['EEXIST'],
  };
}

async function bringUp(name: string, { address, local }: SecureRequest): Promise<void> {
  const { outside } = await kernel(SUBJECT, { outside: [listLinks(), listAddresses()] });
  const links = linksOf(outside);
  const link = links.find((candidate) => candidate.name === name);
  if (link === undefined)
    throw new TsswarmError('NETWORK_FAILED', `cannot set up ${SUBJECT}: its link "${name}" has vanished`);
  const wanted = { linkIndex: link.index, ipv4: address.split('/')[0] ?? '', prefix: parseSubnet(address).prefix };
  const own = addressesOf(outside).filter(({ linkIndex }) => linkIndex === link.index);
  const others = own.filter(({ ipv4, prefix }) => ipv4 !== wanted.ipv4 || prefix !== wanted.prefix);
  const mtu = secureMtu(local, links);
  await kernel(SUBJECT, { outside: [...others.map(deleteAddress), addAddress(wanted), setLink(name, { mtu })] });
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
