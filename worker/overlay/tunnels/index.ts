/** Keeps the tunnels of a node as its assignments say: the plan is pure, this is its edge. */
import { Coalesced } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import { isEncrypted } from '../../../base/network-driver.ts';
import type { NetworkId, NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { SecureRequest, TunnelEntry, TunnelId, Tunnels } from '../../../node-engine/types.ts';
import type { NodeOverlay } from '../../../proto/types/index.ts';
import type { Entries, KnownTunnel, OverlayView, Step, WantedTunnel } from './plan.ts';
import { additionTo, changeOf, planTunnels, wantedSecureLink, wantedTunnels } from './plan.ts';

/** What the kernel refused is tried again after this. */
const RETRY_MS = 2000;
/** How often the encrypted way is looked after: what drives it may be a process that ends. */
const LOOK_MS = 3000;

export interface OverlayOptions {
  readonly nodeId: NodeId;
  readonly tunnels: Tunnels;
  /** Networks whose bridge is there. */
  readonly listBridges: () => Promise<readonly NetworkId[]>;
  /** How others reach this node now; undefined: they do not. */
  readonly overlay: () => NodeOverlay | undefined;
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
  /**
   * The bridge of a network is there: resolves when its tunnel is as it was told last.
   * @throws NETWORK_FAILED, NOT_SUPPORTED when others on the network cannot be reached from here
   */
  connect(id: NetworkId): Promise<void>;
  /** The bridge is about to go. */
  disconnect(id: NetworkId): Promise<void>;
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
  /** The encrypted way as it was made last, as text; empty: there is none. Undefined: nobody has looked. */
  let secure: string | undefined;
  let look: Timer | undefined;
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
  /** @returns what is in the way */
  const makeSecure = async (request: SecureRequest): Promise<unknown> => {
    const text = JSON.stringify(request);
    if (text === secure) return undefined;
    try {
      const { isNew } = await tunnels.secure.ensure(request);
      // Tunnels that took a way that is gone went with it.
      if (isNew) known = await survey();
      secure = text;
      watchSecure();
      return undefined;
    } catch (error) {
      logger.error('encrypted way to other nodes', { reason: messageOf(error) });
      tryAgain();
      return error;
    }
  };
  const removeSecure = async (): Promise<void> => {
    look?.cancel();
    look = undefined;
    try {
      await tunnels.secure.remove();
      secure = '';
    } catch (error) {
      logger.warn('removing the encrypted way to other nodes', { reason: messageOf(error) });
    }
  };
  const watchSecure = (): void => {
    look ??= clock.startTimer(LOOK_MS, () => void lookAfterSecure());
  };
  const lookAfterSecure = async (): Promise<void> => {
    const isThere = await tunnels.secure.isThere().catch(() => false);
    look = undefined;
    if (closed || secure === '' || secure === undefined) return;
    watchSecure();
    if (isThere) return;
    logger.warn('the encrypted way to other nodes has ended: it is made again');
    secure = undefined;
    known = undefined;
    await work.run();
  };
  const work = new Coalesced(async () => {
    // Before it was told anything it knows of nothing that is too much.
    if (closed || !isTold) return;
    try {
      known ??= await survey();
    } catch (error) {
      logger.error('tunnels', { reason: messageOf(error) });
      return tryAgain();
    }
    const self = { nodeId, overlay: overlay(), bridges };
    const wanted = wantedTunnels(view, self, known);
    const secureLink = wantedSecureLink(view, self, wanted);
    const trouble = secureLink === undefined ? undefined : await makeSecure(secureLink);
    for (const id of failures.keys()) if (!wanted.has(id)) failures.delete(id);
    let isUncertain = false;
    await Promise.all(
      planTunnels(known, wanted).map(async (step) => {
        try {
          if (trouble !== undefined && wanted.get(step.id)?.request.encrypted === true) throw trouble;
          await take(step);
        } catch (error) {
          isUncertain = true;
          if (!failures.has(step.id)) logger.error('tunnel', { network: step.id, reason: messageOf(error) });
          failures.set(step.id, error);
        }
      }),
    );
    if (secureLink === undefined && secure !== '' && isCertain) await removeSecure();
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
    async connect(id) {
      bridges.add(id);
      await work.run();
      const failure = failures.get(id);
      if (failure !== undefined) throw failure;
      const network = view.networks.get(id);
      if (network !== undefined && isEncrypted(network.spec.options) && tunnels.secure.publicKey() === undefined)
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
    async close() {
      closed = true;
      retry?.cancel();
      look?.cancel();
      await work.settled();
    },
  };
}

/** Halves of entries have no address perhaps: they are kept apart by what they have. */
const byAddress = (entries: readonly TunnelEntry[]): Entries =>
  new Map(entries.map((entry) => [entry.ipv4 === '' ? entry.mac : entry.ipv4, entry]));
