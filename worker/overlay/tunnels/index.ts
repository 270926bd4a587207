/** Keeps the tunnels of a node as its assignments say: the plan is pure, this is its edge. */
import { Coalesced } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import { isEncrypted } from '../../../base/network-driver.ts';
import type { NetworkId, NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { TunnelEntry, TunnelId, Tunnels } from '../../../node-engine/types.ts';
import type { NodeOverlay } from '../../../proto/types/index.ts';
import type { Entries, KnownTunnel, OverlayView, Step, WantedTunnel } from './plan.ts';
import { withKeys } from './keys.ts';
import type { SecureSelf } from './keys.ts';
import { additionTo, changeOf, planTunnels, securePeers, wantedTunnels } from './plan.ts';
import { SecureWay } from './secure.ts';
import type { RotationStatus } from './secure.ts';

/** What the kernel refused is tried again after this. */
const RETRY_MS = 2000;

export interface OverlayOptions {
  readonly nodeId: NodeId;
  readonly tunnels: Tunnels;
  /** Networks whose bridge is there. */
  readonly listBridges: () => Promise<readonly NetworkId[]>;
  /** How others reach this node now; undefined: they do not. */
  readonly overlay: () => NodeOverlay | undefined;
  /** How long a key of the encrypted way is used, ms; 0: until somebody has it rotated. */
  readonly keyIntervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The overlay networks of a node, as far as they lead to others. */
export interface Overlay {
  /**
   * What the node was told; the kernel follows.
   * @param isCertain false: it is from before the daemon started, and the kernel may be ahead of it: nothing is taken away
   */
  update(view: OverlayView, isCertain: boolean): void;
  /** Resolves when the kernel has followed, or could not; undefined: nothing is under way. */
  settled(): Promise<void> | undefined;
  /**
   * The bridge of a network is there: resolves when its tunnel is as it was told last.
   * @throws NETWORK_FAILED, NOT_SUPPORTED when others on the network cannot be reached from here
   */
  connect(id: NetworkId): Promise<void>;
  /** The bridge is about to go. */
  disconnect(id: NetworkId): Promise<void>;
  /** How others reach this node now, with its keys; undefined: they do not. */
  reached(): NodeOverlay | undefined;
  /** Begins to rotate the key of the encrypted way. @throws NOT_SUPPORTED, NETWORK_FAILED */
  rotate(): Promise<'begun' | 'under-way' | 'unused'>;
  /** What the encrypted way is, and how the rotation of its key. */
  secure(): { readonly self: SecureSelf | undefined; readonly rotation: RotationStatus };
  /** Ends the work; tunnels stay. */
  close(): Promise<void>;
}

export function createOverlay(options: OverlayOptions): Overlay {
  const { nodeId, tunnels, overlay, clock } = options;
  const logger = options.logger.child({ component: 'overlay' });
  const bridges = new Set<NetworkId>();
  const failures = new Map<TunnelId, unknown>();
  let view: OverlayView = { networks: new Map(), locations: new Map(), peers: new Map(), ingress: new Map() };
  let isTold = false;
  let isCertain = false;
  /** Undefined: the kernel has to be asked. */
  let known: Map<TunnelId, KnownTunnel> | undefined;
  let retry: Timer | undefined;
  let isLost = false;
  let closed = false;

  const survey = async (): Promise<Map<TunnelId, KnownTunnel>> => {
    const found = await tunnels.list();
    for (const id of await options.listBridges()) bridges.add(id);
    return new Map(found.map(({ id, entries }) => [id, { entries: byAddress(entries) }]));
  };

  const change = async (id: TunnelId, has: Entries, { request, entries }: WantedTunnel): Promise<void> => {
    const difference = isCertain ? changeOf(has, entries) : additionTo(has, entries);
    if (difference.remove.length + difference.put.length > 0) await tunnels.change(id, difference);
    known?.set(id, { request, entries: isCertain ? entries : new Map([...entries, ...has]) });
  };
  const take = async (step: Step): Promise<void> => {
    const { id } = step;
    if (step.kind === 'remove') {
      if (!isCertain && step.id !== 'mesh' && step.id !== 'probe' && bridges.has(step.id)) return;
      await tunnels.remove(id);
      known?.delete(id);
    } else if (step.kind === 'ensure') {
      const { isNew } = await tunnels.ensure(step.wanted.request);
      await change(id, isNew ? new Map() : (known?.get(id)?.entries ?? new Map()), step.wanted);
    } else {
      await change(id, known?.get(id)?.entries ?? new Map(), step.wanted);
    }
    failures.delete(id);
  };
  const tryAgain = (): void => {
    retry ??= clock.startTimer(RETRY_MS, () => {
      retry = undefined;
      void work.run();
    });
  };
  const secure = new SecureWay({
    nodeId,
    link: tunnels.secure,
    keyIntervalMs: options.keyIntervalMs,
    clock,
    logger,
    lookAgain: () => work.run(),
    onLoss: () => (isLost = true),
  });
  const removeSecure = async (): Promise<void> => {
    try {
      await secure.remove();
    } catch (error) {
      logger.warn('removing the encrypted way to other nodes', { reason: messageOf(error) });
    }
  };
  const work = new Coalesced(async () => {
    // Before it was told anything it knows of nothing that is too much.
    if (closed || !isTold) return;
    try {
      if (isLost) known = undefined;
      isLost = false;
      known ??= await survey();
    } catch (error) {
      logger.error('tunnels', { reason: messageOf(error) });
      return tryAgain();
    }
    let trouble: unknown;
    const own = view.peers.get(nodeId);
    try {
      if (own !== undefined) await secure.survey(view.peers.values(), own);
    } catch (error) {
      trouble = error;
    }
    const secureSelf = secure.self();
    const self = { nodeId, overlay: overlay(), bridges, ...(secureSelf === undefined ? {} : { secure: secureSelf }) };
    const wanted = wantedTunnels(view, self, known);
    const found = securePeers(view, self, wanted);
    const [local, meshAddress] = [self.overlay?.address, own?.meshAddress];
    const need =
      found === undefined || local === undefined || meshAddress === undefined
        ? undefined
        : { ...found, local, meshAddress };
    if (need !== undefined && trouble === undefined) {
      try {
        // Tunnels that took a way that is gone went with it.
        if (await secure.open(need, isCertain)) known = await survey();
      } catch (error) {
        logger.error('encrypted way to other nodes', { reason: messageOf(error) });
        trouble = error;
      }
    }
    for (const id of failures.keys()) if (!wanted.has(id)) failures.delete(id);
    let isUncertain = false;
    await Promise.all(
      planTunnels(known, wanted).map(async (step) => {
        try {
          if (trouble !== undefined && wanted.get(step.id)?.request.encrypted !== undefined) throw trouble;
          await take(step);
        } catch (error) {
          isUncertain = true;
          if (!failures.has(step.id)) logger.error('tunnel', { network: step.id, reason: messageOf(error) });
          failures.set(step.id, error);
        }
      }),
    );
    if (need === undefined && isCertain) await removeSecure();
    if (need !== undefined && trouble === undefined && !isUncertain) {
      try {
        await secure.settle(need, isCertain);
      } catch (error) {
        trouble = error;
        logger.error('encrypted way to other nodes', { reason: messageOf(error) });
      }
    }
    if (trouble !== undefined) tryAgain();
    if (!isUncertain) return;
    // Parts of it may hold.
    known = undefined;
    tryAgain();
  });

  return {
    update(next, certain) {
      isTold = true;
      isCertain = certain;
      view = next;
      void work.run();
    },
    settled: () => (work.isRunning ? work.settled() : undefined),
    async connect(id) {
      bridges.add(id);
      await work.run();
      const failure = failures.get(id);
      if (failure !== undefined) throw failure;
      const network = view.networks.get(id);
      if (network !== undefined && isEncrypted(network.spec.options) && secure.self() === undefined)
        throw new TsswarmError(
          'NOT_SUPPORTED',
          `joining network "${network.spec.name}": it is encrypted, and this node has no WireGuard`,
          { hint: 'apt-get install wireguard-tools, and wireguard-go where the kernel has no WireGuard' },
        );
      const isSplit = [...view.locations.values()].some(
        (location) => location.networkId === id && location.nodeId !== nodeId,
      );
      if (network?.vni === undefined || !isSplit || overlay() !== undefined) return;
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `joining network "${network.spec.name}": others on it are on other nodes, and this node has no address that they reach`,
        { hint: 'start the node with --data-path-addr <address or interface>' },
      );
    },
    async disconnect(id) {
      if (!bridges.delete(id)) return;
      await work.run();
    },
    reached() {
      const plain = overlay();
      return plain === undefined ? undefined : withKeys(plain, secure.told());
    },
    rotate: () => secure.rotate(),
    secure: () => ({ self: secure.self(), rotation: secure.status() }),
    async close() {
      closed = true;
      retry?.cancel();
      secure.close();
      await work.settled();
    },
  };
}

/** Halves of entries have no address perhaps: they are kept apart by what they have. */
const byAddress = (entries: readonly TunnelEntry[]): Entries =>
  new Map(entries.map((entry) => [entry.ipv4 === '' ? entry.mac : entry.ipv4, entry]));
