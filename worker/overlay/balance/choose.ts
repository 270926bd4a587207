/** Which virtual addresses a container gets, and which of an address's endpoints where it keeps to one. Pure. */
import { createHash } from 'node:crypto';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import type { BalancedAddress } from '../../agent/balanced.ts';
import type { VirtualAddresses } from '../../../node-engine/network/index.ts';

/**
 * The addresses on the container's networks. Where a service keeps clients to one endpoint, the container is one client: it keeps the one
 * that it had; else it gets the one that weighs most for it (rendezvous hashing), so that a daemon that starts again mostly chooses the
 * same, and each endpoint has its share of the containers.
 * @param before what the container has
 */
export function addressesOf(
  container: ContainerId,
  networks: readonly NetworkId[],
  balanced: readonly BalancedAddress[],
  before: VirtualAddresses,
): VirtualAddresses {
  const wanted = new Map<string, readonly string[]>();
  for (const { networkId, address, endpoints, affinity } of balanced) {
    if (!networks.includes(networkId)) continue;
    if (!affinity || endpoints.length < 2) {
      wanted.set(address, endpoints);
      continue;
    }
    const had = before.get(address) ?? [];
    const [kept] = had;
    if (had.length === 1 && kept !== undefined && endpoints.includes(kept)) wanted.set(address, had);
    else wanted.set(address, [heaviest(container, endpoints)]);
  }
  return wanted;
}

/** Whether something is wrong until containers know it: an address that they have not, one without endpoints, an endpoint that is gone. */
export function isUrgent(before: readonly BalancedAddress[], now: readonly BalancedAddress[]): boolean {
  const known = new Map(before.map((one) => [one.address, one]));
  return (
    now.length < before.length ||
    now.some(({ address, endpoints, affinity }) => {
      const had = known.get(address);
      if (had === undefined || had.affinity !== affinity) return true;
      if (had.endpoints === endpoints) return false;
      const here = new Set(endpoints);
      return had.endpoints.length === 0 || had.endpoints.some((endpoint) => !here.has(endpoint));
    })
  );
}

function heaviest(container: ContainerId, endpoints: readonly string[]): string {
  const weigh = (endpoint: string): string => createHash('sha256').update(`${container} ${endpoint}`).digest('hex');
  return endpoints
    .map((endpoint) => ({ endpoint, weight: weigh(endpoint) }))
    .reduce((a, b) => (a.weight > b.weight ? a : b)).endpoint;
}
