/** IP addresses between text and numbers. Both kinds are bigints here, so that code for one is code for the other. */
import { TsswarmError } from './errors.ts';

export type IpFamily = 4 | 6;

const BITS = { 4: 32n, 6: 128n } as const;

/** "10.1.2.3" or "fd00::1" as a number; undefined: it is neither. A zone ("fe80::1%eth0") is not understood. */
export function readIp(text: string): { readonly family: IpFamily; readonly value: bigint } | undefined {
  const value = text.includes(':') ? readIpv6(text) : readIpv4(text);
  return value === undefined ? undefined : { family: text.includes(':') ? 6 : 4, value };
}

/** As {@link readIp}, of one family. @throws INVALID_INPUT */
export function parseIp(text: string, family: IpFamily): bigint {
  const found = readIp(text);
  if (found?.family === family) return found.value;
  const expected = family === 4 ? 'a.b.c.d' : 'eight groups such as fd00::1';
  throw new TsswarmError(
    'INVALID_INPUT',
    `reading address "${text}": not an IPv${family} address, expected ${expected}`,
  );
}

/** Number → "10.1.2.3" or "fd00::1", in the one way of RFC 5952. */
export function formatIp(value: bigint, family: IpFamily): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  // The longest run of at least two zero groups, the first of equals.
  let [start, length] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (groups[end] === '0') end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

/** The 4 or 16 bytes of an address, as they stand in packets. @throws INVALID_INPUT */
export function ipBytes(text: string): Buffer {
  const found = readIp(text);
  if (found === undefined) throw new TsswarmError('INVALID_INPUT', `reading address "${text}": not an IP address`);
  const digits = Number(BITS[found.family] / 4n);
  return Buffer.from(found.value.toString(16).padStart(digits, '0'), 'hex');
}

/** 4 or 16 bytes → text. */
export function formatIpBytes(bytes: Uint8Array): string {
  return formatIp(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), bytes.length === 4 ? 4 : 6);
}

/** A subnet as numbers. */
export interface IpSubnet {
  readonly family: IpFamily;
  /** First address, the subnet's own. */
  readonly base: bigint;
  readonly prefix: number;
  /** Number of addresses. */
  readonly size: bigint;
}

/** "10.1.2.0/24" or "fd00::/64"; host bits are cleared. Undefined: it is neither. */
export function readIpSubnet(text: string): IpSubnet | undefined {
  const [address = '', length = '', ...more] = text.split('/');
  const found = readIp(address);
  if (found === undefined || !/^\d{1,3}$/.test(length) || more.length > 0) return undefined;
  const hostBits = BITS[found.family] - BigInt(length);
  if (hostBits < 0n) return undefined;
  return {
    family: found.family,
    base: (found.value >> hostBits) << hostBits,
    prefix: Number(length),
    size: 1n << hostBits,
  };
}

export function formatIpSubnet({ base, prefix, family }: IpSubnet): string {
  return `${formatIp(base, family)}/${prefix}`;
}

/** Never true of subnets of two families. */
export function subnetsOverlap(a: IpSubnet, b: IpSubnet): boolean {
  return a.family === b.family && a.base < b.base + b.size && b.base < a.base + a.size;
}

export function subnetContains(subnet: IpSubnet, address: bigint): boolean {
  return address >= subnet.base && address < subnet.base + subnet.size;
}

function readIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function readIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const groups = [...groupsOf(head ?? [], tail === undefined), ...groupsOf(tail ?? [], true)];
  const missing = 8 - groups.length;
  if (groups.includes(undefined) || (tail === undefined ? missing !== 0 : missing < 1)) return undefined;
  groups.splice(groupsOf(head ?? [], tail === undefined).length, 0, ...Array.from({ length: missing }, () => 0));
  return groups.reduce<bigint>((sum, group) => sum * 65536n + BigInt(group ?? 0), 0n);
}

/** Groups as numbers; the last may be an IPv4 address in place of two. Undefined stands for what is no group. */
function groupsOf(parts: readonly string[], isEnd: boolean): (number | undefined)[] {
  return parts.flatMap((part, index) => {
    if (isEnd && index === parts.length - 1 && part.includes('.')) {
      const ipv4 = readIpv4(part);
      return ipv4 === undefined ? [undefined] : [Number(ipv4 >> 16n), Number(ipv4 & 0xffffn)];
    }
    return [/^[0-9a-fA-F]{1,4}$/.test(part) ? parseInt(part, 16) : undefined];
  });
}
