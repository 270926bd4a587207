import { TsswarmError } from '../../base/errors.ts';

/** An IPv4 subnet as numbers. */
export interface Subnet {
  /** First address, the network's own. */
  readonly base: number;
  readonly prefix: number;
  /** Number of addresses. */
  readonly size: number;
}

/** "10.1.2.3" → number. @throws INVALID_INPUT */
export function parseAddress(text: string): number {
  const address = readAddress(text);
  if (address === undefined)
    throw new TsswarmError('INVALID_INPUT', `reading address "${text}": not an IPv4 address, expected a.b.c.d`);
  return address;
}

const ZERO = 48;
const DOT = 46;

/** The same; undefined for what is no IPv4 address. Character by character: all addresses of all tasks are read at each look. */
export function readAddress(text: string): number | undefined {
  let address = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (digits === 0 || ++dots > 3) return undefined;
      address = address * 256 + part;
      part = digits = 0;
      continue;
    }
    if (code < ZERO || code > ZERO + 9 || ++digits > 3) return undefined;
    part = part * 10 + code - ZERO;
    if (part > 255) return undefined;
  }
  return dots === 3 && digits > 0 ? address * 256 + part : undefined;
}

/** Number → "10.1.2.3". */
export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** "10.1.2.0/24" → numbers; host bits are cleared. @throws INVALID_INPUT */
export function parseSubnet(text: string): Subnet {
  const [address = '', length = ''] = text.split('/');
  const prefix = Number(length);
  if (!/^\d{1,2}$/.test(length) || prefix > 30 || prefix < 4) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `reading subnet "${text}": the prefix length is "${length}", expected 4 to 30`,
    );
  }
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(parseAddress(address) / size) * size, prefix, size };
}

export const formatSubnet = ({ base, prefix }: Subnet): string => `${formatAddress(base)}/${prefix}`;

export const contains = (subnet: Subnet, address: number): boolean =>
  address >= subnet.base && address < subnet.base + subnet.size;

/**
 * A free host address of `subnet`, looked for from `after` on and round: an address that was given up is reused as late
 * as possible, so that nobody's stale answer reaches a stranger.
 */
export function nextAddress(subnet: Subnet, used: Pick<ReadonlySet<number>, 'has'>, after: number): number | undefined {
  const hosts = subnet.size - 2;
  const start = contains(subnet, after) ? after - subnet.base : 0;
  for (let i = 1; i <= hosts; i++) {
    const address = subnet.base + 1 + ((start - 1 + i + hosts) % hosts);
    if (!used.has(address)) return address;
  }
  return undefined;
}
