/**
 * Keeps the virtual addresses of services true inside every container of the node. The table of a container that has just been made is
 * made beside its start, not before it: nothing is told a virtual address by name until {@link Balancer.ready} says so.
 */
import { Semaphore } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import { AlikeTables, BALANCE_TABLE, balanceNamespace } from '../../../node-engine/network/index.ts';
import type { NamespaceBalancer, NamespaceGuard, VirtualAddresses } from '../../../node-engine/network/index.ts';
import type { BalancedAddress } from '../../agent/balanced.ts';
import { addressesOf, isUrgent } from './choose.ts';

/** Namespaces that are changed at the same moment: more only wait for the kernel's lock on rules. */
const AT_ONCE = 8;
/** A change that failed is tried again. */
const RETRY_MS = 1000;
/**
 * More endpoints for an address that has some already are no hurry. Each is a change in every container: of a hundred containers of
 * one service that start together it would be ten thousand. So they are gathered, this long for each container that is attached,
 * or, where one comes after the other as in an update, until so long after the last time.
 */
const GATHER_MS = 5;
const REST_MS = 50;
/**
 * Most containers never ask for a service by name; those that were given an address by other means find it led as soon as starting
 * others has paused for so long, or has gone on for so long.
 */
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 3000;

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
   * Begins with a container, or anew: its namespace may hold what an earlier daemon made, which is taken over without a gap. One whose
   * processes have never run needs nothing at once.
   * @throws NETWORK_FAILED, not for one that is fresh
   */
  attach(attachment: {
    readonly containerId: ContainerId;
    /** File of the container's network namespace; empty (it is in the node's): there is nothing to do. */
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
    /** Nothing has run in it yet. */
    readonly fresh: boolean;
    /** It is attached, and goes on as it is but for its networks. Absent: it is begun anew. */
    readonly running?: boolean;
  }): Promise<void>;
  /**
   * Has the addresses made true in a container, if they are not yet.
   * @returns undefined: they are; else, when that is decided, whether they are now
   */
  ready(containerId: ContainerId): Promise<boolean> | undefined;
  detach(containerId: ContainerId): void;
  close(): void;
}

interface Attached {
  networks: readonly NetworkId[];
  readonly namespace: NamespaceBalancer;
  addresses: VirtualAddresses;
  unguard(): void;
  /** What changes is made true in it. */
  isBegun: boolean;
  /** It was true in it once. */
  isMade: boolean;
}

export function createBalancer({ clock, logger, guard }: BalancerOptions): Balancer {
  const attached = new Map<ContainerId, Attached>();
  const running = new Set<Promise<boolean>>();
  const turns = new Semaphore(AT_ONCE);
  const tables = new AlikeTables();
  let balanced: readonly BalancedAddress[] = [];
  let retry: Timer | undefined;
  let gathering: Timer | undefined;
  let spreadAt = -Infinity;
  /** Of those that are not begun. */
  let pause: Timer | undefined;
  let pausedSince = 0;

  const bring = async (id: ContainerId, one: Attached): Promise<void> => {
    one.isBegun = true;
    one.addresses = addressesOf(id, one.networks, balanced, one.addresses);
    await turns.use(() => one.namespace.set(one.addresses));
    one.isMade = true;
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
  /** Whoever waits for all changes waits for this one, too. */
  const begin = (id: ContainerId, one: Attached): Promise<boolean> => {
    const run = bringLater(id, one).finally(() => running.delete(run));
    running.add(run);
    return run;
  };
  const spread = (): void => {
    gathering?.cancel();
    gathering = undefined;
    spreadAt = clock.monotonic();
    for (const [id, one] of attached) if (one.isBegun) void begin(id, one);
  };
  const beginRest = (): void => {
    pause = undefined;
    for (const [id, one] of attached) if (!one.isBegun) void begin(id, one);
  };
  const beginLater = (): void => {
    const now = clock.monotonic();
    if (pause === undefined) pausedSince = now;
    pause?.cancel();
    pause = clock.startTimer(Math.max(0, Math.min(PAUSE_MS, pausedSince + LONGEST_PAUSE_MS - now)), beginRest);
  };
  const end = (one: Attached): void => {
    one.unguard();
    one.namespace.close();
  };
  return {
    setAddresses(addresses) {
      const urgent = isUrgent(balanced, addresses);
      balanced = addresses;
      if (urgent) spread();
      else
        gathering ??= clock.startTimer(
          Math.max(GATHER_MS * attached.size, spreadAt + REST_MS - clock.monotonic()),
          spread,
        );
    },
    async settled() {
      return (await Promise.all(running)).every((isTrue) => isTrue);
    },
    async attach({ containerId, netnsPath, networks, fresh, running: goesOn }) {
      if (netnsPath === '') return;
      const known = attached.get(containerId);
      if (known !== undefined && goesOn === true) {
        const isOther = known.networks.join() !== networks.join();
        known.networks = networks;
        if (isOther && known.isBegun) await bring(containerId, known);
        return;
      }
      const namespace = balanceNamespace(netnsPath, `container "${containerId.slice(0, 12)}"`, tables);
      if (known !== undefined) end(known);
      const unguard = guard?.guard(netnsPath, [BALANCE_TABLE], () => turns.use(() => namespace.repair()));
      const one: Attached = {
        networks,
        namespace,
        addresses: new Map(),
        unguard: unguard ?? (() => undefined),
        isBegun: false,
        isMade: false,
      };
      attached.set(containerId, one);
      if (fresh) beginLater();
      else await bring(containerId, one);
    },
    ready(containerId) {
      const one = attached.get(containerId);
      if (one === undefined || one.isMade) return undefined;
      return begin(containerId, one).then(() => one.isMade);
    },
    detach(containerId) {
      const one = attached.get(containerId);
      if (one !== undefined) end(one);
      attached.delete(containerId);
    },
    close() {
      retry?.cancel();
      gathering?.cancel();
      pause?.cancel();
      for (const one of attached.values()) one.namespace.close();
      attached.clear();
    },
  };
}
