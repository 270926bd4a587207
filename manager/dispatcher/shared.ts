import type { NetworkId, NodeId } from '../../base/ids.ts';
import { driverScope } from '../../base/network-driver.ts';
import type { IngressPort, Network, NetworkEndpoint, ServiceAddress } from '../../proto/types/index.ts';
import type { ReadTransaction } from '../store/types.ts';
import { endpoints, ingress, serviceAddresses } from './assignment-set.ts';
import type { Reachable } from './assignment-set.ts';
import { kept } from './kept.ts';
import { Overlays } from './overlays.ts';

/**
 * What many nodes are told alike: the names and virtual addresses on a network, the published ports. Put together once for each version of the store, and
 * the same object as long as its content is the same, so that who compares two versions mostly compares two pointers.
 */
export class SharedSets {
  #version = -1;
  #ingress: readonly IngressPort[] | undefined;
  #lastIngress: readonly IngressPort[] = [];
  readonly #overlays = new Overlays();
  readonly #endpoints = new Map<NetworkId, readonly NetworkEndpoint[]>();
  readonly #lastEndpoints = new Map<NetworkId, readonly NetworkEndpoint[]>();
  readonly #services = new Map<NetworkId, readonly ServiceAddress[]>();
  readonly #lastServices = new Map<NetworkId, readonly ServiceAddress[]>();

  /** @param nodeId of the one who is told: it knows its own tasks by itself, also while it is taken for down */
  of(tx: ReadTransaction, nodeId: NodeId, networks: readonly Network[]) {
    const isDown = (id: string): boolean => tx.get('node', id as NodeId)?.status.state === 'down';
    if (isDown(nodeId)) {
      const reachable: Reachable = (task) => task.nodeId === nodeId || (task.nodeId !== '' && !isDown(task.nodeId));
      const ports = ingress(tx, reachable);
      return {
        endpoints: onlyOwn(networks, nodeId, endpoints(tx, networks, reachable)),
        ingress: ports,
        services: serviceAddresses(tx, networks),
        ...this.#overlays.of(tx, networks, ports.length > 0),
      };
    }
    if (tx.version !== this.#version) {
      this.#version = tx.version;
      this.#ingress = undefined;
      this.#endpoints.clear();
      this.#services.clear();
    }
    const reachable: Reachable = (task) => task.nodeId !== '' && !isDown(task.nodeId);
    const missing = networks.filter(({ id }) => !this.#endpoints.has(id));
    if (missing.length > 0) this.#collect(tx, missing, reachable);
    this.#ingress ??= this.#lastIngress = kept(this.#lastIngress, ingress(tx, reachable), ingressKey);
    return {
      endpoints: onlyOwn(networks, nodeId, joined(networks, this.#endpoints)),
      ingress: this.#ingress,
      services: joined(networks, this.#services),
      ...this.#overlays.of(tx, networks, this.#ingress.length > 0),
    };
  }

  #collect(tx: ReadTransaction, networks: readonly Network[], reachable: Reachable): void {
    const found = Map.groupBy(endpoints(tx, networks, reachable), ({ networkId }) => networkId);
    const services = Map.groupBy(serviceAddresses(tx, networks), ({ networkId }) => networkId);
    for (const { id } of networks) {
      keep(id, this.#endpoints, this.#lastEndpoints, found.get(id) ?? [], ({ taskId }) => taskId);
      keep(id, this.#services, this.#lastServices, services.get(id) ?? [], ({ serviceId }) => serviceId);
    }
  }
}

const ingressKey = ({ port }: IngressPort): string => `${port.protocol}/${port.hostIp}/${port.published}`;

/** A bridge is its node's own: nobody else reaches what is on it, even if it has the same name everywhere. */
function onlyOwn(
  networks: readonly Network[],
  nodeId: NodeId,
  list: readonly NetworkEndpoint[],
): readonly NetworkEndpoint[] {
  const local = new Set(networks.filter(({ spec }) => driverScope(spec.driver) === 'local').map(({ id }) => id));
  return local.size === 0
    ? list
    : list.filter((endpoint) => endpoint.nodeId === nodeId || !local.has(endpoint.networkId));
}

/** The lists of several networks as one; the very list where only one has any. */
function joined<T>(networks: readonly Network[], lists: ReadonlyMap<NetworkId, readonly T[]>): readonly T[] {
  const found = networks.map(({ id }) => lists.get(id) ?? []).filter(({ length }) => length > 0);
  return found.length === 1 ? (found[0] ?? []) : found.flat();
}

function keep<T>(
  id: NetworkId,
  lists: Map<NetworkId, readonly T[]>,
  last: Map<NetworkId, readonly T[]>,
  found: readonly T[],
  key: (item: T) => string,
): void {
  const now = kept(last.get(id) ?? [], found, key);
  lists.set(id, now);
  if (now.length > 0) last.set(id, now);
  else last.delete(id);
}
