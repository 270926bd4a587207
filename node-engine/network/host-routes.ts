/** The node's own routes, as the kernel shows them in /proc/net (route, ipv6_route). */
import { closeSync, openSync, readSync } from 'node:fs';
import { formatIp, formatIpSubnet, readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';
import type { IpSubnet } from '../../base/ip-address.ts';

export interface HostRoute {
  readonly subnet: IpSubnet;
  readonly device: string;
}

/** Of a router with the routes of half the Internet the first are enough: it has no free subnets to tell of. */
const MOST_BYTES = 64 * 1024;
const MOST_ROUTES = 256;
/** Link-local and multicast addresses are on every link. */
const EVERYWHERE = ['fe80::/10', 'ff00::/8', '224.0.0.0/4'].flatMap((text) => readIpSubnet(text) ?? []);

/** Routes to subnets that are not of networks of ours; the default route is none of them. Empty where the kernel does not say. */
export function hostRoutes(): readonly HostRoute[] {
  return [...parseRoutes(read('/proc/net/route')), ...parseIpv6Routes(read('/proc/net/ipv6_route'))];
}

/** The same as text for the managers: "192.168.1.0/24", each once. */
export function hostSubnets(): readonly string[] {
  return [...new Set(hostRoutes().map(({ subnet }) => formatIpSubnet(subnet)))].sort().slice(0, MOST_ROUTES);
}

/** A route that would lead containers' packets elsewhere: to the whole of `subnet`, or to a part of it. */
export function routeWithin(subnet: IpSubnet, routes: readonly HostRoute[]): HostRoute | undefined {
  return routes.find((route) => subnetsOverlap(subnet, route.subnet) && route.subnet.prefix >= subnet.prefix);
}

/** "eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF …": destination and mask in hexadecimal, as the machine holds them. Pure. */
export function parseRoutes(text: string): readonly HostRoute[] {
  return rows(text).flatMap(([device = '', destination = '', , , , , , mask = '']) => {
    const bits = [...number(mask).toString(2)].filter((bit) => bit === '1').length;
    return routeOf(device, `${formatIp(number(destination), 4)}/${bits}`);
  });
}

/** "fd77…00 40 00…00 00 00…00 00000100 00000001 00000000 00000001 eth0": destination and prefix in hexadecimal. Pure. */
export function parseIpv6Routes(text: string): readonly HostRoute[] {
  return rows(text).flatMap(([destination = '', prefix = '', ...rest]) => {
    if (!/^[0-9a-f]{32}$/.test(destination)) return [];
    return routeOf(rest.at(-1) ?? '', `${formatIp(BigInt(`0x${destination}`), 6)}/${parseInt(prefix, 16)}`);
  });
}

function routeOf(device: string, cidr: string): readonly HostRoute[] {
  const subnet = readIpSubnet(cidr);
  if (!subnet || subnet.prefix === 0 || device === 'lo' || /^ts(w?)-/.test(device)) return [];
  return EVERYWHERE.some((other) => subnetsOverlap(other, subnet)) ? [] : [{ subnet, device }];
}

/** Eight digits, the lowest byte first: /proc shows them so on the machines that we run on. */
function number(hex: string): bigint {
  if (!/^[0-9A-F]{8}$/.test(hex)) return 0n;
  return BigInt(`0x${(hex.match(/../g) ?? []).reverse().join('')}`);
}

const rows = (text: string): readonly (readonly string[])[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => line.trim().split(/\s+/));

function read(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const buffer = Buffer.alloc(MOST_BYTES);
    let length = 0;
    for (let got = -1; got !== 0 && length < MOST_BYTES; length += got)
      got = readSync(fd, buffer, length, MOST_BYTES - length, null);
    const text = buffer.toString('latin1', 0, length);
    // The last line may be half a line.
    return length < MOST_BYTES ? text : text.slice(0, text.lastIndexOf('\n'));
  } finally {
    closeSync(fd);
  }
}
