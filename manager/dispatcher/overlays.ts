import type { NetworkId, NodeId } from '../../base/ids.ts';
import type { Network, Node, OverlayLocation, OverlayPeer, Task } from '../../proto/types/index.ts';
import { heldAddresses } from '../model/task-addresses.ts';
import { mayRun } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';
import { kept } from './kept.ts';

/** Docker's. */
export const DEFAULT_DATA_PATH_PORT = 4789;

export const isOverlay = ({ spec, vni }: Network): boolean => spec.driver === 'overlay' && vni !== undefined;

/** A container of it may be there, or may come at any moment: others are told where before it starts. */
export const isLocated = (task: Task | undefined): task is Task => task !== undefined && mayRun(task);

/**
 * Where everything on the overlay networks is: the same objects for all nodes on a network, and as long as nothing changes, so
 * that most comparisons are of two pointers.
 */
export class Overlays {
  #version = -1;
  readonly #locations = new Map<NetworkId, readonly OverlayLocation[]>();
  readonly #lastLocations = new Map<NetworkId, readonly OverlayLocation[]>();
  /** By the ids of the networks, in order; MESH: every node. */
  readonly #peers = new Map<string, readonly OverlayPeer[]>();
  #lastPeers = new Map<string, readonly OverlayPeer[]>();
  readonly #ofTask = new WeakMap<Task, readonly OverlayLocation[]>();
  readonly #ofNode = new WeakMap<Node, OverlayPeer>();

  /** @param hasMesh ports are published on every node: each has to do with every other */
  of(tx: ReadTransaction, networks: readonly Network[], hasMesh: boolean) {
    if (tx.version !== this.#version) {
      this.#version = tx.version;
      this.#locations.clear();
      // Of combinations that nobody has any more nothing is kept.
      if (this.#peers.size > 0) this.#lastPeers = new Map(this.#peers);
      this.#peers.clear();
    }
    const overlays = networks.filter(isOverlay);
    const lists = overlays.map((network) => this.#locationsOf(tx, network)).filter(({ length }) => length > 0);
    const key = hasMesh ? MESH : overlays.map(({ id }) => id).join();
    let peers = this.#peers.get(key);
    if (peers === undefined) {
      const ids = hasMesh ? undefined : new Set(lists.flatMap((list) => list.map(({ nodeId }) => nodeId)));
      peers = kept(this.#lastPeers.get(key) ?? [], this.#peersOf(tx, ids), ({ nodeId }) => nodeId);
      this.#peers.set(key, peers);
    }
    return { locations: lists.length === 1 ? (lists[0] ?? []) : lists.flat(), peers };
  }

  #locationsOf(tx: ReadTransaction, network: Network): readonly OverlayLocation[] {
    let locations = this.#locations.get(network.id);
    if (locations === undefined) {
      const before = this.#lastLocations.get(network.id) ?? [];
      locations = kept(before, this.#collect(tx, network), ({ taskId }) => taskId);
      this.#locations.set(network.id, locations);
      if (locations.length > 0) this.#lastLocations.set(network.id, locations);
      else this.#lastLocations.delete(network.id);
    }
    return locations;
  }

  #collect(tx: ReadTransaction, network: Network): readonly OverlayLocation[] {
    /** An address that the user fixed passes from a task to its successor while the first may be there still. */
    const byAddress = new Map<string, Task>();
    for (const task of tx.find('task', 'network', network.id)) {
      if (!isLocated(task)) continue;
      const ipv4 = heldAddresses(task).find(({ networkId }) => networkId === network.id)?.ipv4 ?? '';
      const other = byAddress.get(ipv4);
      if (other === undefined || isRightful(task, other)) byAddress.set(ipv4, task);
    }
    return [...byAddress.values()].flatMap((task) =>
      this.#locate(task, tx).filter(({ networkId }) => networkId === network.id),
    );
  }

  #locate(task: Task, tx: ReadTransaction): readonly OverlayLocation[] {
    let found = this.#ofTask.get(task);
    if (found === undefined) {
      // Of two on one network the one that it shall have: the other is about to go.
      const latest = heldAddresses(task).filter(
        ({ networkId }, index, all) => all.findIndex((one) => one.networkId === networkId) === index,
      );
      found = latest.map(({ networkId, ipv4, ipv6 }) => {
        const name = tx.get('network', networkId)?.spec.name;
        const attached = [...task.spec.networks, ...(task.changing?.spec.networks ?? [])];
        const macAddress = attached.find(({ network }) => network === name)?.macAddress;
        return {
          taskId: task.id,
          networkId,
          nodeId: task.nodeId as NodeId,
          ipv4,
          ...(ipv6 === undefined ? {} : { ipv6 }),
          ...(macAddress === undefined ? {} : { macAddress }),
        };
      });
      this.#ofTask.set(task, found);
    }
    return found;
  }

  #peersOf(tx: ReadTransaction, ids: Iterable<NodeId> | undefined): readonly OverlayPeer[] {
    const nodes = ids === undefined ? tx.list('node') : [...ids].flatMap((id) => tx.get('node', id) ?? []);
    return nodes.flatMap((node) => {
      const { overlay } = node.description;
      if (overlay === undefined) return [];
      let peer = this.#ofNode.get(node);
      if (peer === undefined) {
        const { id: nodeId, meshAddress } = node;
        peer = { nodeId, overlay, ...(meshAddress === undefined ? {} : { meshAddress }) };
        this.#ofNode.set(node, peer);
      }
      return [peer];
    });
  }
}

const MESH = 'mesh';

/** Of two tasks with one address: who is wanted, else who is newer. */
function isRightful(task: Task, other: Task): boolean {
  const isWanted = ({ desiredState }: Task): boolean => desiredState === 'running' || desiredState === 'ready';
  if (isWanted(task) !== isWanted(other)) return isWanted(task);
  return task.meta.createdAt >= other.meta.createdAt;
}
