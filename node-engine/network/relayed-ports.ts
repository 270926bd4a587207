/**
 * Which published ports answer callers over IPv6 by a process (tsrelay), and where that finds them over IPv4. Pure.
 *
 * The kernel translates within a family only: a port whose containers have IPv4 alone is listened to over IPv6, and each call goes on to the
 * node's own port over IPv4, whose rules choose the container as for anybody else.
 */
import { isIPv4 } from 'node:net';
import type { PortForward } from '../types.ts';
import { addressBytes, formatBytes } from './address.ts';

/** What the process listens to, over IPv6 alone. */
export interface RelayPort {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** Address over IPv4 with the same port. */
  readonly target: string;
}

/** Equal for the same socket. */
export const relayKey = ({ protocol, address, port }: Omit<RelayPort, 'target'>): string =>
  `${protocol} ${formatBytes(addressBytes(address))} ${port}`;

/** Whether the port answers over IPv6, and nothing in the kernel can lead these callers on. */
export function needsRelay({ protocol, hostIp, backends, keepsSource }: PortForward): boolean {
  if (protocol === 'sctp' || keepsSource === true || (hostIp !== '' && isIPv4(hostIp))) return false;
  return backends.length > 0 && backends.every(({ ipv6 }) => ipv6 === undefined);
}

/** Whether the port would answer over IPv6 but for its wish to show callers as they are. */
export const losesIpv6 = (forward: PortForward): boolean =>
  forward.keepsSource === true && needsRelay({ ...forward, keepsSource: false });

/** Of a port that needs it. */
export function relayPortOf({ protocol, hostIp, port }: PortForward): RelayPort {
  const address = hostIp === '' ? '::' : hostIp;
  const target = hostIp === '' ? '127.0.0.1' : privateAddress(hostIp);
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', address, port, target };
}

/** The port as the rules have it: one that is published on an address of IPv6 is found by the process, and handed over by other nodes, over IPv4. */
export function ruledForward(forward: PortForward): PortForward {
  const { hostIp } = forward;
  return hostIp !== '' && needsRelay(forward) ? { ...forward, hostIp: privateAddress(hostIp) } : forward;
}

/** An address of the node alone, of 127.128.0.0/10: the same number may be another service's on 127.0.0.1. */
function privateAddress(ipv6: string): string {
  let hash = 0x811c9dc5;
  for (const byte of addressBytes(ipv6)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = (hash ^ (hash >>> 16)) >>> 0;
  return `127.${128 + ((hash >>> 16) & 63)}.${(hash >>> 8) & 255}.${hash & 255}`;
}
