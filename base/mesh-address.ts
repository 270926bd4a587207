/** Addresses of nodes in the mesh that leads published ports from node to node. */

/**
 * The IPv6 address that belongs to a node's IPv4 address there: "fd74:7373:6d65:7368::a9fe:c001" to "169.254.192.1". Local to the cluster, as
 * 169.254.0.0/16 is to a link; no packet with it leaves the mesh.
 */
export function meshIpv6(ipv4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number);
  return `fd74:7373:6d65:7368::${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

export const MESH_IPV6_PREFIX = 64;
export const MESH_IPV6_SUBNET = 'fd74:7373:6d65:7368::/64';
