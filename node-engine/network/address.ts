/** IPv4 addresses as numbers, and what is derived from them. */
import { isIPv4 } from 'node:net';
import { TsswarmError } from '../../base/errors.ts';

/** "10.128.0.5" as a number. @throws INVALID_INPUT */
export function parseIpv4(ipv4: string): number {
  if (!isIPv4(ipv4)) throw new TsswarmError('INVALID_INPUT', `cannot use "${ipv4}": expected an IPv4 address`);
  return ipv4.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
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
