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
  /** Address of this node in the network below the overlay networks; absent or empty: it has none. */
  readonly underlay?: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The bridges of a node, one for each network that its tasks use. */
export interface Bridges {
  /** Makes the bridge of `network` unless it is there. @throws what the engine throws */
  ensure(network: Network): Promise<void>;
  /** Tells which networks are assigned: the bridges of others go when they have been idle for a while. */
  keep(assigned: ReadonlySet<NetworkId>): void;
  /** Removes a bridge now; false: it could not be, for now. */
  remove(id: NetworkId): Promise<boolean>;
  /**
   * Removes whatever bridge an earlier life left and nobody has been assigned.
   * @param assigned which networks are assigned at the time of the call: that changes while bridges are listed and removed
   */
  collect(assigned: () => ReadonlySet<NetworkId>): Promise<void>;
  /** Stops waiting for idle ones; bridges stay. */
  close(): void;
}

export function createBridges({ networks, underlay, clock, logger }: BridgesOptions): Bridges {
  const queue = new KeyedQueue();
  const made = new Map<NetworkId, string>();
  const idle = new Map<NetworkId, Timer>();
  /** Those that an earlier life made and whose network is still assigned. */
  const found = new Set<NetworkId>();
  let wanted: ReadonlySet<NetworkId> | undefined;

  const use = (id: NetworkId): void => {
    idle.get(id)?.cancel();
    idle.delete(id);
  };
  const rest = (id: NetworkId): void => {
    if (!idle.has(id))
      idle.set(
        id,
        clock.startTimer(IDLE_MS, () => void remove(id)),
      );
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
  return {
    remove,
    async ensure(network) {
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
        if (made.get(network.id) === key) return;
        try {
          await networks.ensureBridge(request);
        } catch (error) {
          if (idle.size === 0) throw error;
          // A network that is gone may have left its subnet to this one.
          await Promise.all([...idle.keys()].map(remove));
          await networks.ensureBridge(request);
        }
        made.set(network.id, key);
        // It was taken away while it was being made: nobody else will see to it.
        if (wanted?.has(network.id) === false) rest(network.id);
      });
    },
    keep(assigned) {
      wanted = assigned;
      for (const id of new Set([...made.keys(), ...found])) {
        if (assigned.has(id)) use(id);
        else rest(id);
      }
    },
    async collect(assigned) {
      for (const id of await networks.listBridges()) {
        // Looked at anew for each: the bridge may have been made since, for a task that came meanwhile.
        if (assigned().has(id)) found.add(id);
        else await remove(id);
      }
    },
    close() {
      wanted = undefined;
      for (const id of [...idle.keys()]) use(id);
    },
  };
}
