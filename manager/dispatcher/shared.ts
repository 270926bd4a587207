import type { NetworkId, NodeId } from '../../base/ids.ts';
import type { IngressPort, Network, NetworkEndpoint } from '../../proto/types/index.ts';
import type { ReadTransaction } from '../store/types.ts';
import { endpoints, ingress } from './assignment-set.ts';
import type { Reachable } from './assignment-set.ts';
import { kept } from './kept.ts';
import { Overlays } from './overlays.ts';

/**
 * What many nodes are told alike: the names on a network, the published ports. Put together once for each version of the store, and
 * the same object as long as its content is the same, so that who compares two versions mostly compares two pointers.
 */
export class SharedSets {
  #version = -1;
  #ingress: readonly IngressPort[] | undefined;
  #lastIngress: readonly IngressPort[] = [];
  readonly #overlays = new Overlays();
  readonly #endpoints = new Map<NetworkId, readonly NetworkEndpoint[]>();
  readonly #lastEndpoints = new Map<NetworkId, readonly NetworkEndpoint[]>();

  /** @param nodeId of the one who is told: it knows its own tasks by itself, also while it is taken for down */
  of(tx: ReadTransaction, nodeId: NodeId, networks: readonly Network[]) {
    const isDown = (id: string): boolean => tx.get('node', id as NodeId)?.status.state === 'down';
    if (isDown(nodeId)) {
      const reachable: Reachable = (task) => task.nodeId === nodeId || (task.nodeId !== '' && !isDown(task.nodeId));
      const ports = ingress(tx, reachable);
      return {
        endpoints: onlyOwn(networks, nodeId, endpoints(tx, networks, reachable)),
        ingress: ports,
        ...this.#overlays.of(tx, networks, ports.length > 0),
      };
    }
    if (tx.version !== this.#version) {
      this.#version = tx.version;
      this.#ingress = undefined;
      this.#endpoints.clear();
    }
    const reachable: Reachable = (task) => task.nodeId !== '' && !isDown(task.nodeId);
    const missing = networks.filter(({ id }) => !this.#endpoints.has(id));
    if (missing.length > 0) this.#collect(tx, missing, reachable);
    const lists = networks
      .map((network) => onlyOwn([network], nodeId, this.#endpoints.get(network.id) ?? []))
      .filter(({ length }) => length > 0);
    this.#ingress ??= this.#lastIngress = kept(this.#lastIngress, ingress(tx, reachable), ingressKey);
    return {
      endpoints: lists.length === 1 ? (lists[0] ?? []) : lists.flat(),
      ingress: this.#ingress,
      ...this.#overlays.of(tx, networks, this.#ingress.length > 0),
    };
  }

  #collect(tx: ReadTransaction, networks: readonly Network[], reachable: Reachable): void {
    const found = Map.groupBy(endpoints(tx, networks, reachable), ({ networkId }) => networkId);
    for (const { id } of networks) {
      const now = kept(this.#lastEndpoints.get(id) ?? [], found.get(id) ?? [], ({ taskId }) => taskId);
      this.#endpoints.set(id, now);
      if (now.length > 0) this.#lastEndpoints.set(id, now);
      else this.#lastEndpoints.delete(id);
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
  const local = new Set(networks.filter(({ spec }) => spec.driver === 'bridge').map(({ id }) => id));
  return local.size === 0
    ? list
    : list.filter((endpoint) => endpoint.nodeId === nodeId || !local.has(endpoint.networkId));
}
