/** The network below the tunnels: which of the node's links their packets leave by, and what room it leaves. */
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Link } from './route.ts';

/** Ethernet, IP, UDP and VXLAN headers around a frame (RFC 7348). */
const HEADERS_IPV4 = 50;
const HEADERS_IPV6 = 70;
const ETHERNET_MTU = 1500;

/** Name of the link that has the address; undefined: it is none of this node's. */
export function linkOf(address: string): string | undefined {
  return Object.entries(networkInterfaces()).find(([, addresses = []]) =>
    addresses.some((own) => own.address === address),
  )?.[0];
}

/** What a container may send at once so that it still fits with its headers into what the underlay carries. */
export function tunnelMtu(local: string, links: readonly Pick<Link, 'name' | 'mtu'>[]): number {
  const name = linkOf(local);
  const mtu = name === undefined || name === 'lo' ? undefined : links.find((link) => link.name === name)?.mtu;
  return (mtu ?? ETHERNET_MTU) - (isIPv6(local) ? HEADERS_IPV6 : HEADERS_IPV4);
}
