import { sha256 } from '@noble/hashes/sha2.js';
import { formatIp, formatIpSubnet, readIp, readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';
import type { IpFamily, IpSubnet } from '../../base/ip-address.ts';
import { DEFAULT_NETWORK } from '../../base/network-driver.ts';
import type { Cluster, Network, Node } from '../../proto/types/index.ts';

/** Subnets of Docker's own default pools are left alone: people run both. The second is for sites that have all of 10.0.0.0/8. */
const DEFAULT_POOLS = ['10.210.0.0/16', '10.211.0.0/16', '100.96.0.0/16'];
const DEFAULT_PREFIX = 24;
/** All services without a network of their own share that of no project: 16,381 containers, where a /24 would do for 253 of the whole cluster. */
const SHARED_PREFIX = 18;
/** The one that hosts of any kind expect (RFC 4291, 2.5.1). */
const IPV6_PREFIX = 64;

/** What a network gets. */
export type NetworkSubnets = Pick<Network, 'subnet' | 'gateway' | 'ipv6'>;

/**
 * The subnets and gateways of a network; those that its spec names are not questioned but for other networks. Subnets of choice
 * overlap no route of any node, or, where the pools leave nothing else, none that is narrower than they are: a wide one (a VPN for all
 * of 10.0.0.0/8) then loses some addresses on the nodes.
 * @param resting subnets that networks have left a short while ago: taken only where no other is free
 * @returns undefined when the pools are used up, or the subnet is another network's
 */
export function allocateSubnets(
  network: Network,
  cluster: Cluster | undefined,
  all: readonly Network[],
  nodes: readonly Node[],
  resting: readonly string[] = [],
): NetworkSubnets | undefined {
  const others = all.filter(({ id }) => id !== network.id);
  const taken = others.flatMap(({ subnet, ipv6 }) => [subnet, ipv6?.subnet ?? '']).flatMap(readSubnet);
  const routes = nodes.flatMap(({ description }) => description.routes ?? []).flatMap(readSubnet);
  const rest = resting.flatMap(readSubnet);
  const pools = cluster?.spec.addressPools ?? [];
  const choose = (
    family: IpFamily,
    spec: string,
    prefix: number,
    defaults: readonly string[],
  ): IpSubnet | undefined => {
    if (spec !== '') {
      const [wanted] = readSubnet(spec);
      return wanted?.family !== family || taken.some((other) => subnetsOverlap(other, wanted)) ? undefined : wanted;
    }
    const own = pools.flatMap(readSubnet).filter((pool) => pool.family === family);
    const from = own.length > 0 ? own : defaults.flatMap(readSubnet);
    // Who names pools says how they are cut; and a large one is not worth a conflict with anybody's routes.
    const isShared = family === 4 && pools.length === 0 && isOfAllServices(network);
    return (
      (isShared ? cutSubnet(from, SHARED_PREFIX, [...taken, ...routes, ...rest]) : undefined) ??
      cutSubnet(from, prefix, [...taken, ...routes, ...rest]) ??
      cutSubnet(from, prefix, [...taken, ...routes]) ??
      cutSubnet(from, prefix, [...taken, ...routes.filter((route) => route.prefix >= prefix)])
    );
  };
  const { spec } = network;
  // One that it has stays: it may be in use while IPv6 is added.
  const ipv4 = choose(
    4,
    network.subnet || spec.subnet,
    cluster?.spec.addressPoolPrefix || DEFAULT_PREFIX,
    DEFAULT_POOLS,
  );
  if (ipv4 === undefined) return undefined;
  const found = { subnet: formatIpSubnet(ipv4), gateway: gatewayOf(ipv4, spec.gateway) };
  if (spec.ipv6 === undefined) return found;
  const ipv6 = choose(6, spec.ipv6.subnet, IPV6_PREFIX, [uniqueLocalPrefix(cluster?.id ?? '')]);
  if (ipv6 === undefined) return undefined;
  return { ...found, ipv6: { subnet: formatIpSubnet(ipv6), gateway: gatewayOf(ipv6, spec.ipv6.gateway) } };
}

const isOfAllServices = ({ projectId, spec }: Network): boolean => spec.name === DEFAULT_NETWORK && projectId === '';

/** The cluster's own part of the addresses that nobody routes on the Internet: fd and 40 bits that others hardly have (RFC 4193). */
export function uniqueLocalPrefix(clusterId: string): string {
  const hash = sha256(Buffer.from(`tsswarm cluster ${clusterId}`));
  const base = hash.subarray(0, 5).reduce((sum, byte) => sum * 256n + BigInt(byte), 0xfdn) << 80n;
  return `${formatIp(base, 6)}/48`;
}

/** The first subnet of length `prefix` inside `pools` that overlaps none of `taken`; undefined when they are used up. */
function cutSubnet(pools: readonly IpSubnet[], prefix: number, taken: readonly IpSubnet[]): IpSubnet | undefined {
  for (const pool of pools) {
    const size = pool.size >> BigInt(prefix - pool.prefix);
    const obstacles = taken.filter((other) => subnetsOverlap(other, pool));
    let base = pool.base;
    while (prefix >= pool.prefix && base + size <= pool.base + pool.size) {
      const candidate = { family: pool.family, base, prefix, size };
      const obstacle = obstacles.find((other) => subnetsOverlap(other, candidate));
      if (obstacle === undefined) return candidate;
      // Continue behind the obstacle, on the next boundary of our own size.
      base = ((obstacle.base + obstacle.size + size - 1n) / size) * size;
    }
  }
  return undefined;
}

function gatewayOf({ base, family }: IpSubnet, wanted: string): string {
  const given = readIp(wanted);
  return formatIp(given?.family === family ? given.value : base + 1n, family);
}

const readSubnet = (text: string): readonly IpSubnet[] => {
  const subnet = readIpSubnet(text);
  return subnet === undefined ? [] : [subnet];
};
