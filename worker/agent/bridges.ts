import { KeyedQueue } from '../../base/async.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import { directLink, isEncrypted } from '../../base/network-driver.ts';
import type { NetworkId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Engine } from '../../node-engine/types.ts';
import type { Network } from '../../proto/types/index.ts';

/** Making and removing a bridge takes longer than starting a container: one that nobody uses is kept for the next one. */
const IDLE_MS = 30_000;

export interface BridgesOptions {
  readonly networks: Pick<Engine['networks'], 'ensureBridge' | 'removeBridge' | 'listBridges'>;
  /** Which networks are assigned at the time of the call: that changes while bridges are made and removed. */
  readonly assigned: () => ReadonlySet<NetworkId>;
  /** Address of this node in the network below the overlay networks; absent or empty: it has none. */
  readonly underlay?: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The bridges of a node, one for each network that its tasks use. */
export interface Bridges {
  /**
   * Makes the bridge of `network` unless it was made already.
   * @param doubt a container could not be joined to it: what was made may have been taken away by somebody else since, and is looked for
   * @throws what the engine throws
   */
  ensure(network: Network, doubt?: 'doubted'): Promise<void>;
  /**
   * Makes those anew that somebody has taken away. What was joined to them is joined again by whoever looks at the containers.
   * @param wanted networks that containers of this node are on
   * @returns those that were made; of one that cannot be made the log says why
   */
  restore(wanted: readonly Network[]): Promise<readonly Network[]>;
  /** Other networks are assigned now: the bridges of those that are not go when they have been idle for a while. */
  keep(): void;
  /** Removes a bridge now; false: it could not be, for now. */
  remove(id: NetworkId): Promise<boolean>;
  /** Removes whatever bridge an earlier life left and nobody has been assigned. */
  collect(): Promise<void>;
  /** Stops waiting for idle ones; bridges stay. */
  close(): void;
}

export function createBridges({ networks, assigned, underlay, clock, logger }: BridgesOptions): Bridges {
  const queue = new KeyedQueue();
  const made = new Map<NetworkId, string>();
  const idle = new Map<NetworkId, Timer>();
  /** Those that an earlier life made and whose network is still assigned. */
  const found = new Set<NetworkId>();
  let isClosed = false;

  const use = (id: NetworkId): void => {
    idle.get(id)?.cancel();
    idle.delete(id);
  };
  const rest = (id: NetworkId): void => {
    if (!idle.has(id) && !isClosed)
      idle.set(
        id,
        clock.startTimer(IDLE_MS, () => void removeIdle(id)),
      );
  };
  /** Looked at just before it goes: the network may have been assigned again since, and its containers may be on it already. */
  const removeIdle = async (id: NetworkId): Promise<void> => {
    if (assigned().has(id)) use(id);
    else await remove(id);
  };
  const remove = async (id: NetworkId): Promise<boolean> => {
    use(id);
    try {
      await queue.run(id, async () => {
        // Forgotten before it goes: whoever waits in the queue to use it makes it anew.
        made.delete(id);
        await networks.removeBridge(id);
        found.delete(id);
      });
      return true;
    } catch (error) {
      logger.warn('removing a bridge', { networkId: id, reason: messageOf(error) });
      return false;
    }
  };
  /** What is left of a bridge that somebody else has taken away goes, too: its tunnel would not be joined to the next one. */
  const dropLost = async (id: NetworkId): Promise<void> => {
    if ((await networks.listBridges()).includes(id)) return;
    logger.warn('a bridge has been removed by somebody else: it is made anew', { networkId: id });
    made.delete(id);
    await networks.removeBridge(id);
  };
  const ensure = async (network: Network, doubt?: 'doubted'): Promise<void> => {
    const isOverlay = network.spec.driver === 'overlay';
    const below = isOverlay ? { underlay: underlay?.() ?? '', encrypted: isEncrypted(network.spec.options) } : {};
    const { subnet, gateway, spec, ipv6 } = network;
    const direct = directLink(spec.driver, spec.options);
    const key = [
      ...[subnet, gateway, spec.internal, ipv6?.subnet, ipv6?.gateway, below.underlay, below.encrypted],
      direct?.parent,
    ].join(' ');
    const request = {
      id: network.id,
      name: network.spec.name,
      subnet: network.subnet,
      gateway: network.gateway,
      internal: network.spec.internal,
      mtu: Number(network.spec.options['com.docker.network.driver.mtu'] ?? 0),
      ...below,
      ...(direct === undefined ? {} : { direct }),
      ...(network.ipv6 === undefined ? {} : { ipv6: network.ipv6 }),
    };
    use(network.id);
    await queue.run(network.id, async () => {
      if (doubt !== undefined && direct === undefined) await dropLost(network.id);
      // A card of the node is not listed; to see to it again changes nothing where it is as it shall be.
      if (made.get(network.id) === key && (doubt === undefined || direct === undefined)) return;
      try {
        await networks.ensureBridge(request);
      } catch (error) {
        // This one may be among them by now, and is what everything else that concerns it waits for.
        const others = [...idle.keys()].filter((id) => id !== network.id);
        if (others.length === 0) throw error;
        // A network that is gone may have left its subnet to this one.
        await Promise.all(others.map(removeIdle));
        await networks.ensureBridge(request);
      }
      made.set(network.id, key);
      // It was taken away while it was being made: nobody else will see to it.
      if (!assigned().has(network.id)) rest(network.id);
    });
  };
  return {
    remove,
    ensure,
    async restore(wanted) {
      const bridged = wanted.filter(({ spec }) => directLink(spec.driver, spec.options) === undefined);
      if (bridged.length === 0) return [];
      const present = new Set(await networks.listBridges());
      const restored: Network[] = [];
      for (const network of bridged) {
        if (present.has(network.id)) continue;
        try {
          await ensure(network, 'doubted');
          restored.push(network);
        } catch (error) {
          logger.error('a bridge that is gone cannot be made anew', {
            networkId: network.id,
            name: network.spec.name,
            reason: messageOf(error),
          });
        }
      }
      return restored;
    },
    keep() {
      const wanted = assigned();
      for (const id of new Set([...made.keys(), ...found])) {
        if (wanted.has(id)) use(id);
        else rest(id);
      }
    },
    async collect() {
      for (const id of await networks.listBridges()) {
        // Looked at anew for each: the bridge may have been made since, for a task that came meanwhile.
        if (assigned().has(id)) found.add(id);
        else await remove(id);
      }
    },
    close() {
      isClosed = true;
      for (const id of [...idle.keys()]) use(id);
    },
  };
}
