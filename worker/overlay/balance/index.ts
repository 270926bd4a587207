/** Keeps the virtual addresses of services true inside every container of the node. */
import { Semaphore } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import { BALANCE_TABLE, balanceNamespace } from '../../../node-engine/network/index.ts';
import type { NamespaceBalancer, NamespaceGuard, VirtualAddresses } from '../../../node-engine/network/index.ts';
import type { BalancedAddress } from '../../agent/balanced.ts';
import { addressesOf, isUrgent } from './choose.ts';

/** Namespaces that are changed at the same moment: more only wait for the kernel's lock on rules. */
const AT_ONCE = 8;
/** A change that failed is tried again. */
const RETRY_MS = 1000;
/**
 * More endpoints for an address that has some already are no hurry. Each is a change in every container: of a hundred containers of
 * one service that start together it would be ten thousand. So they are gathered, this long for each container that is attached.
 */
const GATHER_MS = 5;

export interface BalancerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Hears when somebody in a container changes the rules there; absent: they are made again with the next change only. */
  readonly guard?: NamespaceGuard;
}

export interface Balancer {
  /** Replaces all virtual addresses, in every container that is attached. */
  setAddresses(addresses: readonly BalancedAddress[]): void;
  /**
   * Resolves when what was said before is true in every container, but for endpoints beside others, which follow within half a
   * second or so: false where it could not be made so; it is tried again.
   */
  settled(): Promise<boolean>;
  /**
   * Begins with a container, or anew: its namespace may hold what an earlier daemon made, which is taken over without a gap.
   * @throws NETWORK_FAILED
   */
  attach(attachment: {
    readonly containerId: ContainerId;
    /** File of the container's network namespace; empty (it is in the node's): there is nothing to do. */
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
  }): Promise<void>;
  detach(containerId: ContainerId): void;
  close(): void;
}

interface Attached {
  readonly networks: readonly NetworkId[];
  readonly namespace: NamespaceBalancer;
  addresses: VirtualAddresses;
  unguard(): void;
}

export function createBalancer({ clock, logger, guard }: BalancerOptions): Balancer {
  const attached = new Map<ContainerId, Attached>();
  const running = new Set<Promise<boolean>>();
  const turns = new Semaphore(AT_ONCE);
  let balanced: readonly BalancedAddress[] = [];
  let retry: Timer | undefined;
  let gathering: Timer | undefined;

  const bring = async (id: ContainerId, one: Attached): Promise<void> => {
    one.addresses = addressesOf(id, one.networks, balanced, one.addresses);
    await turns.use(() => one.namespace.set(one.addresses));
  };
  const bringLater = async (id: ContainerId, one: Attached): Promise<boolean> => {
    try {
      await bring(id, one);
      return true;
    } catch (error) {
      // It has ended meanwhile.
      if (attached.get(id) !== one) return true;
      logger.warn('virtual addresses', { containerId: id, reason: messageOf(error) });
      retry ??= clock.startTimer(RETRY_MS, () => {
        retry = undefined;
        spread();
      });
      return false;
    }
  };
  const spread = (): void => {
    gathering?.cancel();
    gathering = undefined;
    for (const [id, one] of attached) {
      const run = bringLater(id, one).finally(() => running.delete(run));
      running.add(run);
    }
  };
  return {
    setAddresses(addresses) {
      const urgent = isUrgent(balanced, addresses);
      balanced = addresses;
      if (urgent) spread();
      else gathering ??= clock.startTimer(GATHER_MS * attached.size, spread);
    },
    async settled() {
      return (await Promise.all(running)).every((isTrue) => isTrue);
    },
    async attach({ containerId, netnsPath, networks }) {
      if (netnsPath === '') return;
      const namespace = balanceNamespace(netnsPath, `container "${containerId.slice(0, 12)}"`);
      attached.get(containerId)?.unguard();
      const unguard = guard?.guard(netnsPath, [BALANCE_TABLE], () => turns.use(() => namespace.repair()));
      const one: Attached = { networks, namespace, addresses: new Map(), unguard: unguard ?? (() => undefined) };
      attached.set(containerId, one);
      await bring(containerId, one);
    },
    detach(containerId) {
      attached.get(containerId)?.unguard();
      attached.delete(containerId);
    },
    close() {
      retry?.cancel();
      gathering?.cancel();
      attached.clear();
    },
  };
}
