/** IPv4 addresses as numbers, both kinds as bytes, and what is derived from them. */
import { isIPv4, isIPv6 } from 'node:net';
import { TsswarmError } from '../../base/errors.ts';

/** "10.128.0.5" as a number. @throws INVALID_INPUT */
export function parseIpv4(ipv4: string): number {
  if (!isIPv4(ipv4)) throw new TsswarmError('INVALID_INPUT', `cannot use "${ipv4}": expected an IPv4 address`);
  return ipv4.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** An address as it stands in packets: 4 or 16 bytes. @throws INVALID_INPUT */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%'))
    throw new TsswarmError('INVALID_INPUT', `cannot use "${address}": expected an IP address`);
  // The last two groups may be written as an IPv4 address (RFC 4291, 2.2).
  const [, head = address, tail] = /^(.*:)([\d.]+\.[\d.]+)$/.exec(address) ?? [];
  const text = tail === undefined ? head : head + addressBytes(tail).toString('hex').replace(/^..../, '$&:');
  const [left = [], right] = text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = right === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from([...left, ...zeros, ...(right ?? [])].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** "10.128.0.5", or eight groups of an IPv6 address with all their zeros: equal addresses give equal texts. */
export function formatBytes(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  return bytes.toString('hex').replace(/....(?=.)/g, '$&:');
}

export interface Subnet {
  /** Lowest and highest address, as numbers. */
  readonly first: number;
  readonly last: number;
  readonly prefix: number;
}

/** "10.128.0.0/24"; bits of the host part are ignored. @throws INVALID_INPUT */
export function parseSubnet(cidr: string): Subnet {
  const [address = '', length = '', ...more] = cidr.split('/');
  const prefix = Number(length);
  if (!/^\d{1,2}$/.test(length) || prefix > 32 || more.length > 0)
    throw new TsswarmError('INVALID_INPUT', `cannot use "${cidr}": expected a subnet such as 10.128.0.0/24`);
  const size = 2 ** (32 - prefix);
  const first = Math.floor(parseIpv4(address) / size) * size;
  return { first, last: first + size - 1, prefix };
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatIpv4(subnet.first)}/${subnet.prefix}`;
}

export function overlap(one: Subnet, other: Subnet): boolean {
  return one.first <= other.last && other.first <= one.last;
}

/**
 * A hardware address from the IP address, as Docker makes it: 02:42 and the four bytes. An address that moves to another
 * container on the network stays valid in the neighbours' tables.
 */
export function macOf(ipv4: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(parseIpv4(ipv4));
  return `02:42:${bytes.toString('hex').replace(/..(?=.)/g, '$&:')}`;
}
