import { readFileSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { NetworkInterfaceInfo } from 'node:os';
import type { GuardedPort } from '../../node-engine/types.ts';
import { TsswarmError } from '../../base/errors.ts';

/** Docker's port for managers. */
export const DEFAULT_PORT = 2377;
export const DEFAULT_LISTEN = `0.0.0.0:${DEFAULT_PORT}`;
/** Of a node that others reach by IPv6: every address of both kinds. */
const DEFAULT_LISTEN_IPV6 = `[::]:${DEFAULT_PORT}`;
/** Interfaces that containers are behind, not other machines. */
const INNER = /^(lo|docker|br-|veth|ts-|tsv|tsx-|tsw-|virbr|cni|flannel|cali)/;

/**
 * "host:port" of "host", "host:port", "[v6]:port", "v6" or the name of an interface: its IPv4 address, else one of IPv6.
 * @param option for the message
 * @throws INVALID_INPUT
 */
export function completeAddress(text: string, port: number, option: string): string {
  const bad = (reason: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `using ${option} "${text}": ${reason}`, {
      hint: `as 10.0.0.1 or 10.0.0.1:${DEFAULT_PORT}, or the name of a network interface`,
    });
  if (isIPv6(text)) return join(text, port);
  const [, bracketed, plain, given] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) throw bad('expected <host>[:<port>]');
  const number = given === undefined ? port : Number(given);
  if (number < 1 || number > 65535) throw bad(`the port ${number} is not between 1 and 65535`);
  return join(mainAddress(networkInterfaces()[host] ?? []) ?? host, number);
}

/** What others are to connect to, where the user has not said it: the listened-to address, or the machine's main one. */
export function ownAddress(listenAddr: string): string {
  const { host, port } = split(listenAddr);
  if (host !== '0.0.0.0' && host !== '::' && host !== '') return listenAddr;
  const candidates = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) => {
    const address = INNER.test(name) ? undefined : mainAddress(addresses);
    return address === undefined ? [] : [{ name, address }];
  });
  const main = defaultInterface();
  const chosen =
    candidates.find(({ name }) => name === main) ?? candidates.find(({ address }) => !isIPv6(address)) ?? candidates[0];
  return join(chosen?.address ?? '127.0.0.1', port);
}

/** Addresses that others on the wire may see calls of this machine come from, in a fixed order. */
export const callerAddresses = (interfaces: ReturnType<typeof networkInterfaces>): readonly string[] =>
  Object.entries(interfaces)
    .flatMap(([name, addresses = []]) => (INNER.test(name) ? [] : addresses.map(({ address }) => address)))
    .filter((address) => !/^(fe80:|169\.254\.)/.test(address))
    .sort();

/** Where a node listens that was not told: over IPv6 only where others reach it so, for a machine may have none. */
export const listenAddressFor = (advertised: string): string =>
  isIPv6(split(advertised).host) ? DEFAULT_LISTEN_IPV6 : DEFAULT_LISTEN;

/** The IPv4 address of an interface, else one of IPv6 that reaches further than its link. */
function mainAddress(addresses: readonly NetworkInterfaceInfo[]): string | undefined {
  const found =
    addresses.find(({ family }) => family === 'IPv4') ?? addresses.find(({ address }) => !address.startsWith('fe80:'));
  return found?.address;
}

/**
 * The address that an address or the name of an interface stands for now.
 * @throws INVALID_INPUT
 */
export function dataPathAddress(text: string): string {
  if (isIP(text) !== 0) return text;
  const own = mainAddress(networkInterfaces()[text] ?? []);
  if (own !== undefined) return own;
  throw new TsswarmError(
    'INVALID_INPUT',
    `using --data-path-addr "${text}": it is neither an IP address nor a network interface with one`,
    { hint: 'see "ip -brief address"' },
  );
}

/** Where others may reach this machine: the host itself, or for a name this machine's main address; undefined: nowhere. */
export function reachableAddress(host: string): string | undefined {
  const address = isIP(host) === 0 ? split(ownAddress(DEFAULT_LISTEN)).host : host;
  return address.startsWith('127.') || address === '::1' ? undefined : address;
}

export function split(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
}

function join(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Ports of a node that its containers have no business at: they get at a service by the ports that it publishes. */
export const guardedPorts = (listenAddr: string): readonly GuardedPort[] => [
  { protocol: 'tcp', port: split(listenAddr).port },
];

/** The interface of the default route, proc(5) /proc/net/route. */
function defaultInterface(): string | undefined {
  try {
    const lines = readFileSync('/proc/net/route', 'utf8').split('\n').slice(1);
    return lines.map((line) => line.split('\t')).find((fields) => fields[1] === '00000000')?.[0];
  } catch {
    return undefined;
  }
}
