/** Addresses and subnets of both families as numbers: for whoever has to say whether one lies in another. */
import { isIPv4, isIPv6 } from 'node:net';

/** A subnet, as its first and last address. */
export interface AddressRange {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
  /** Prefix length. */
  readonly prefix: number;
}

/** An address as a number; undefined: it is none. */
export function addressValue(text: string): bigint | undefined {
  if (isIPv4(text)) return joined(text.split('.').map(Number), 8n);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  // "::ffff:192.0.2.1" ends with an address of the other family, which stands for two groups.
  const plain = text.replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => {
    const value = joined(v4.split('.').map(Number), 8n);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const gap = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return joined([...before, ...gap, ...after], 16n);
}

/** "10.1.0.0/16" or "fd00::/64"; bits of the host part are ignored. Undefined: it is no subnet. */
export function parseRange(cidr: string): AddressRange | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(cidr);
  const value = addressValue(match?.[1] ?? '');
  if (match === null || value === undefined) return undefined;
  const family = isIPv4(match[1] ?? '') ? 4 : 6;
  const bits = family === 4 ? 32 : 128;
  const prefix = Number(match[2]);
  if (prefix > bits) return undefined;
  const size = 1n << BigInt(bits - prefix);
  const first = value - (value % size);
  return { family, first, last: first + size - 1n, prefix };
}

/** Whether an address, in text, lies in a subnet. */
export function isWithin(range: AddressRange, address: string): boolean {
  const value = addressValue(address);
  const family = isIPv4(address) ? 4 : 6;
  return value !== undefined && family === range.family && value >= range.first && value <= range.last;
}

/** Whether two subnets have addresses in common. */
export const rangesOverlap = (one: AddressRange, other: AddressRange): boolean =>
  one.family === other.family && one.first <= other.last && other.first <= one.last;

/** Whether all addresses of `inner` are in `outer`. */
export const encloses = (outer: AddressRange, inner: AddressRange): boolean =>
  outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;

function joined(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((sum, part) => (sum << bits) + BigInt(part), 0n);
}
