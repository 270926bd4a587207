/** IP addresses of both versions as the kernel has them. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { TsswarmError } from '../../base/errors.ts';

/** 4 or 16 bytes. @throws INVALID_INPUT */
export function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%'))
    throw new TsswarmError('INVALID_INPUT', `cannot use "${address}": expected an IP address`);
  // The last 32 bits may be written as IPv4.
  const [, start = address, tail] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address) ?? [];
  const last =
    tail === undefined
      ? ''
      : ipBytes(tail)
          .toString('hex')
          .replace(/^(.{4})/, '$1:');
  const [head = '', rest] = `${start}${last}`.split('::');
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => parseInt(word, 16)));
  const before = words(head);
  const after = rest === undefined ? [] : words(rest);
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.concat(all.map((word) => Buffer.from([word >> 8, word & 255])));
}

/** The address in its one canonical form (RFC 5952 for IPv6). */
export function ipText(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.');
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  // The URL parser writes IPv6 addresses canonically.
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}
