/** Addresses of a node that a port is published on: "" is all of them, "0.0.0.0" all of IPv4, "::" all of IPv6. */
import { isIPv4 } from 'node:net';

/** Whether the same port on both would be the same socket. */
export function addressesClash(a: string, b: string): boolean {
  if (a === '' || b === '' || a === b) return true;
  if (isIPv4(a) !== isIPv4(b)) return false;
  const all = isIPv4(a) ? '0.0.0.0' : '::';
  return a === all || b === all;
}
