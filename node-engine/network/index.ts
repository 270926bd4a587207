/**
 * The engine's networking: a bridge per network, a namespace per container, published ports by nftables. Works in the
 * network namespace that the process is in; nodes that share a kernel each have their own.
 */
import { setTimeout } from 'node:timers/promises';
import { KeyedQueue } from '../../base/async.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { silentLogger } from '../../base/log.ts';
import { watchRules } from '../native/addon.ts';
import type { GuardedPort, Networks, PortForward, PortNode, Sandboxes, Tunnels } from '../types.ts';
import {
  ensureBridge,
  ensureForwarding,
  ensureIpv6Forwarding,
  removeBridgeLink,
  rulesetBridge,
  surveyBridges,
} from './bridges.ts';
import { Firewall } from './firewall.ts';
import { tryKernel } from './kernel.ts';
import { bridgeName } from './names.ts';
import { droppingChainsOf, listChains } from './nfnetlink.ts';
import { ensureParent, listParents, optionalDrivers, removeParent } from './parents.ts';
import { hasIpv6 } from './ipv6.ts';
import { hasIpv6Ports } from './port-rules.ts';
import type { RefusedForward } from './ports.ts';
import { PortReservations } from './ports.ts';
import { Relaying } from './relaying.ts';
import { TransactionReader } from './rule-watch.ts';
import { setReturnRoutes } from './return-routes.ts';
import { raiseNeighbourLimits } from './neighbour-limits.ts';
import { createSandboxes } from './sandboxes.ts';
import { surveyNetwork } from './survey.ts';
import { changedUdpPorts, endStaleFlows } from './stale-flows.ts';
import { createTunnels } from './tunnels.ts';

export type { NamespaceGuard } from './namespace-guard.ts';
export { createNamespaceGuard } from './namespace-guard.ts';
export { macOf } from './address.ts';
export { ECHO_PORT } from './names.ts';
export { hostSubnets } from './host-routes.ts';
export type { NamespaceBalancer, VirtualAddresses } from './balance/index.ts';
export { AlikeTables } from './balance/alike.ts';
export { balanceNamespace } from './balance/index.ts';
export { BALANCE_TABLE } from './balance/table.ts';
export type { ResolverSockets } from './resolver-socket.ts';
export { RESOLVER_ADDRESS, RESOLVER_TABLE, openResolverSockets } from './resolver-socket.ts';

const AFTER_REPAIR_MS = 100;

export interface NetworkOptions {
  /** Folder of the containers' namespaces, e.g. "/run/tsswarm/engine/netns". */
  readonly netnsDirectory: string;
  /** Folder of the process that answers callers over IPv6 where the kernel cannot: "/run/tsswarm/engine/relay". Made and removed. */
  readonly relayDirectory: string;
  /** Letters and digits that tell this daemon from others in the same network namespace: names the nftables table. */
  readonly instance: string;
  /** Hears of what stands in the way of the containers' traffic and is not ours to change. */
  readonly logger?: Logger;
}

export interface NodeNetwork {
  readonly networks: Networks;
  readonly sandboxes: Sandboxes;
  readonly tunnels: Tunnels;
  /** Lets go of the held ports and handles. Networks, sandboxes and rules stay. */
  close(): Promise<void>;
}

/** Makes the folder; the node's network is not touched before the first call. */
export function createNetworks(options: NetworkOptions): NodeNetwork {
  const { netnsDirectory, relayDirectory, instance, logger = silentLogger } = options;
  const firewall = new Firewall(`tsswarm_${instance}`);
  const reservations = new PortReservations();
  const sandboxes = createSandboxes(netnsDirectory);
  const queue = new KeyedQueue();
  const relay = new Relaying({
    directory: relayDirectory,
    logger,
    inTurn: (work) => queue.run('ports', work),
  });
  const tunnels = createTunnels(instance, `tsswarm_${instance}`, queue);
  let adopted: Promise<void> | undefined;
  let forwarded: readonly PortForward[] = [];

  /** Bridges that an earlier process made stay in the rules until they are removed. */
  const adopt = async (): Promise<void> => {
    for (const bridge of (await surveyBridges(instance)).bridges) {
      const known = rulesetBridge(bridge);
      if (known) firewall.setBridge(known);
    }
  };
  let watch: ReturnType<typeof watchRules> | undefined;
  /** What somebody else does to our rules is undone at once: no port stays open that should be closed, and none closed. */
  const guardRules = async (): Promise<void> => {
    try {
      const own = (watch = watchRules());
      const reader = new TransactionReader();
      for (;;) {
        const { events, lost } = await own.next();
        if (events.length === 0 && !lost) return;
        const heard = reader.take(events);
        if (lost) reader.forget();
        if (!(await firewall.heard(lost ? undefined : heard))) continue;
        logger.warn('somebody has changed the rules of this daemon: they were made again', {});
        // Who fights with somebody over them does not do it all the time.
        await setTimeout(AFTER_REPAIR_MS, undefined, { ref: false });
      }
    } catch (error) {
      logger.warn('changes of rules are not heard of: they are mended with the next change', {
        reason: messageOf(error),
      });
    }
  };
  const ready = async (): Promise<void> => {
    if (watch === undefined) void guardRules();
    adopted ??= adopt();
    await adopted.catch((error: unknown) => {
      adopted = undefined;
      throw error;
    });
  };

  let warned = '';
  /** A packet that one table accepts still has to pass the others'. */
  const warnOfDrops = async (): Promise<void> => {
    const chains = droppingChainsOf((await tryKernel({ netfilter: [listChains()] })).netfilter).join(', ');
    if (chains !== '' && chains !== warned)
      logger.warn('a firewall of this node drops what containers send to other machines and what these send to them', {
        chains,
        hint: 'allow it there: iptables -I FORWARD -i ts-+ -j ACCEPT; iptables -I FORWARD -o ts-+ -j ACCEPT',
      });
    warned = chains;
  };

  /** Undefined: nobody has looked what an earlier process made. */
  let returning: { readonly nodes: readonly PortNode[]; readonly families: readonly ('ip' | 'ip6')[] } | undefined;
  /** @returns why it could not be done */
  const keepReturnRoutes = async (wanted: NonNullable<typeof returning>): Promise<string | undefined> => {
    if (returning !== undefined && JSON.stringify(returning) === JSON.stringify(wanted)) return undefined;
    returning = undefined;
    try {
      await setReturnRoutes(wanted.nodes, wanted.families);
      returning = wanted;
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  };

  /** @returns what cannot be had */
  const publish = async (
    forwards: readonly PortForward[],
    nodes: readonly PortNode[],
  ): Promise<readonly RefusedForward[]> => {
    const reserved = await reservations.hold(forwards, await relay.listening());
    const relayed = await relay.take(reserved.held);
    const all = relayed.held;
    const refused = [...reserved.refused, ...relayed.refused];
    const keepers = all.some(({ keepsSource }) => keepsSource === true) ? nodes : [];
    const families = hasIpv6() && hasIpv6Ports(all) ? (['ip', 'ip6'] as const) : (['ip'] as const);
    const trouble = await keepReturnRoutes({ nodes: keepers, families });
    const held = trouble === undefined ? all : all.filter(({ keepsSource }) => keepsSource !== true);
    if (held.some(({ meshBackends }) => meshBackends !== undefined)) await ensureForwarding(firewall);
    if (hasIpv6() && hasIpv6Ports(held)) await ensureIpv6Forwarding(firewall);
    firewall.setForwards(held, keepers);
    await firewall.commit();
    const changed = changedUdpPorts(forwarded, held);
    forwarded = held;
    await endStaleFlows(changed, held);
    if (trouble === undefined) return refused;
    const untold = all.filter((forward) => !held.includes(forward));
    return [...refused, ...untold.map((forward) => ({ forward, reason: trouble }))];
  };

  let nodePorts: readonly GuardedPort[] = [];
  const tunnelPorts = new Set<number>();
  const guard = (): Promise<void> => {
    firewall.setGuarded([...nodePorts, ...[...tunnelPorts].map((port) => ({ protocol: 'udp', port }) as const)]);
    return firewall.commit();
  };

  let hasRoom = false;
  /** Packets to more containers than the machine was made for are dropped otherwise. */
  const makeRoom = (): void => {
    if (hasRoom) return;
    hasRoom = true;
    try {
      raiseNeighbourLimits('/proc/sys/net');
    } catch (error) {
      logger.warn('limits of neighbours stay as they are: with hundreds of containers packets may be dropped', {
        reason: (error as Error).message,
        hint: 'set net.ipv4.neigh.default.gc_thresh3 to 65536',
      });
    }
  };

  const networks: Networks = {
    async ensureBridge(request) {
      const { direct } = request;
      if (direct !== undefined) return queue.run(request.id, () => ensureParent(instance, { ...request, direct }));
      await ready();
      makeRoom();
      await queue.run(request.id, async () => {
        await ensureBridge(instance, request, firewall);
        await firewall.commit();
        // Nobody's start waits for a warning.
        warnOfDrops().catch((error: unknown) => logger.debug('other firewalls', { reason: messageOf(error) }));
      });
    },
    async removeBridge(id) {
      await ready();
      await tunnels.remove(id);
      await queue.run(id, async () => {
        // The rules first: after a crash in between the bridge is still there to be found.
        firewall.deleteBridge(bridgeName(id));
        await firewall.commit();
        await removeBridgeLink(id);
        await removeParent(instance, id);
      });
    },
    async listBridges() {
      return [...(await surveyBridges(instance)).bridges.map(({ id }) => id), ...(await listParents(instance))];
    },
    async forgetLost() {
      await ready();
      const { bridges } = await surveyBridges(instance);
      firewall.keepBridges(new Set(bridges.map(({ link }) => link.name)));
      await firewall.commit();
    },
    optionalDrivers,
    survey: () => surveyNetwork(instance, `tsswarm_${instance}`),
    async guardPorts(ports) {
      await ready();
      nodePorts = ports;
      await guard();
    },
    async setPorts(forwards, nodes = []) {
      await ready();
      return queue.run('ports', async () => {
        const refused = await publish(forwards, nodes);
        // The rules lead already what the relay lets go of: now it can be held here.
        return (await relay.release(forwards)) ? publish(forwards, nodes) : refused;
      });
    },
  };

  return {
    networks,
    sandboxes,
    tunnels: {
      ...tunnels,
      async ensure(request) {
        if (!tunnelPorts.has(request.port)) {
          await ready();
          tunnelPorts.add(request.port);
          await guard();
        }
        const made = await tunnels.ensure(request);
        // Routes by the mesh went with the one before.
        if (request.id === 'mesh')
          await queue.run('ports', async () => {
            if (returning !== undefined && returning.nodes.length > 0)
              await setReturnRoutes(returning.nodes, returning.families);
          });
        return made;
      },
    },
    async close() {
      void watch?.close();
      reservations.close();
      relay.close();
      await sandboxes.close();
    },
  };
}
