/** The network below the tunnels: which of the node's links their packets leave by, and what room it leaves. */
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Link } from './route.ts';

/** Ethernet, IP, UDP and VXLAN headers around a frame (RFC 7348). */
const HEADERS_IPV4 = 50;
const HEADERS_IPV6 = 70;
/** IP, UDP and WireGuard headers and the tag around a packet. */
const WIREGUARD_IPV4 = 60;
const WIREGUARD_IPV6 = 80;
const ETHERNET_MTU = 1500;

/** Name of the link that has the address; undefined: it is none of this node's. */
export function linkOf(address: string): string | undefined {
  return Object.entries(networkInterfaces()).find(([, addresses = []]) =>
    addresses.some((own) => own.address === address),
  )?.[0];
}

type Sized = readonly Pick<Link, 'name' | 'mtu'>[];

/** What a container may send at once so that it still fits with its headers into what the underlay carries. */
export function tunnelMtu(local: string, links: Sized): number {
  return pathMtu(local, links) - (isIPv6(local) ? HEADERS_IPV6 : HEADERS_IPV4);
}

/** What WireGuard's link may carry so that it fits with its own headers. */
export function secureMtu(local: string, links: Sized): number {
  return pathMtu(local, links) - (isIPv6(local) ? WIREGUARD_IPV6 : WIREGUARD_IPV4);
}

/** The same as {@link tunnelMtu} for a tunnel that goes by WireGuard, whose own addresses are IPv4. */
export function secureTunnelMtu(local: string, links: Sized): number {
  return secureMtu(local, links) - HEADERS_IPV4;
}

function pathMtu(local: string, links: Sized): number {
  const name = linkOf(local);
  const mtu = name === undefined || name === 'lo' ? undefined : links.find((link) => link.name === name)?.mtu;
  return mtu ?? ETHERNET_MTU;
}
