import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Engine } from '../../node-engine/index.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { methodsOf } from '../../proto/rpc/relay/answer.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { dispatcherService, tasksService } from '../../proto/rpc/services.ts';
import type { DoctorCheck, NodeDescription, NodeOverlay, OverlayPeer } from '../../proto/types/index.ts';
import { agentDisk, startAgent } from '../../worker/agent/index.ts';
import type { Agent } from '../../worker/agent/index.ts';
import { createManagers } from '../../worker/managers/client.ts';
import { listenForCalls } from '../../worker/managers/listen.ts';
import type { Managers } from '../../worker/managers/client.ts';
import { callerAddresses } from './addresses.ts';
import { createNamespaceGuard, hostSubnets } from '../../node-engine/network/index.ts';
import { examine } from '../../worker/doctor/index.ts';
import { createBalancer } from '../../worker/overlay/balance/index.ts';
import { createResolver } from '../../worker/overlay/dns/index.ts';
import { createOverlay } from '../../worker/overlay/tunnels/index.ts';
import type { Place } from './cluster-place.ts';
import type { DaemonFlags } from './flags.ts';

export interface WorkOptions {
  readonly nodeId: NodeId;
  readonly flags: DaemonFlags;
  readonly place: Place;
  readonly description: NodeDescription;
  readonly engine: Engine;
  /** @throws LOCKED */
  readonly identity: () => LiveIdentity;
  readonly isManager: () => boolean;
  /** What managers may call here. */
  readonly tasks: ServiceHandlers<typeof tasksService>;
  /** No manager is asked for anything before: this one may be locked, or still starting. */
  readonly ready: Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The worker of a node, which each node has: its agent, the names that its containers resolve, its way to the managers. */
export interface Work {
  readonly agent: Agent;
  readonly managers: Managers;
  /** What the container of a task is given to end by itself. */
  graceMs(taskId: string): number;
  /** Looks for faults in the node's network. */
  examine(peers: readonly OverlayPeer[], signal: AbortSignal): Promise<readonly DoctorCheck[]>;
  /** Begins to rotate the key of the node's encrypted networks. @throws NOT_SUPPORTED, NETWORK_FAILED */
  rotateKey(): Promise<'begun' | 'under-way' | 'unused'>;
  /** Ends what makes tasks, networks and tunnels; what is there stays. Whoever takes it away afterwards finds that nothing is made again. */
  rest(): Promise<void>;
  close(): void;
}

/** Takes up the tasks of the node. `engine.recover()` must have been called before. */
export function startWork(options: WorkOptions): Work {
  const { flags, place, clock, random, logger } = options;
  const connection = connectLocal(flags.socket);
  const managers = createManagers({
    identity: options.identity,
    clock,
    addresses: place.managers,
    learn: place.learn,
    local: () => (options.isManager() ? connection.service(dispatcherService) : undefined),
  });
  const stopListening = listenForCalls({
    nodeId: options.nodeId,
    managers,
    methods: methodsOf(tasksService, options.tasks),
    clock,
    random,
    logger: logger.child({ component: 'relay' }),
  });
  const guard = createNamespaceGuard(logger.child({ component: 'rules' }));
  const balancer = createBalancer({ clock, logger: logger.child({ component: 'balancer' }), guard });
  const resolver = createResolver({
    clock,
    random,
    networkName: (id) => agent.network(id)?.spec.name,
    resolvConf: '/etc/resolv.conf',
    guard,
    virtualAddresses: (id) => balancer.ready(id),
  });
  const { engine, nodeId } = options;
  let overlayAsked: { readonly at: number; readonly overlay: NodeOverlay | undefined } | undefined;
  const reached = (): NodeOverlay | undefined => {
    const now = clock.monotonic();
    if (overlayAsked === undefined || now - overlayAsked.at > ROUTES_KEPT_MS) {
      const overlay = place.overlay();
      const addresses = callerAddresses(networkInterfaces());
      overlayAsked = { at: now, overlay: overlay === undefined ? undefined : { ...overlay, addresses } };
    }
    return overlayAsked.overlay;
  };
  const overlay =
    engine.tunnels === undefined
      ? undefined
      : createOverlay({
          nodeId,
          tunnels: engine.tunnels,
          listBridges: () => engine.networks.listBridges(),
          overlay: reached,
          keyIntervalMs: place.keyIntervalMs,
          clock,
          logger,
        });
  // Asked for by every container that starts, too: a hundred at once need not read the routes a hundred times.
  let routes: readonly string[] = [];
  let routesReadAt = -Infinity;
  const describe = (): NodeDescription => {
    if (clock.monotonic() - routesReadAt > ROUTES_KEPT_MS) {
      routes = hostSubnets();
      routesReadAt = clock.monotonic();
    }
    const described = { ...options.description, routes };
    const now = overlay === undefined ? reached() : overlay.reached();
    return now === undefined ? described : { ...described, overlay: now };
  };
  const agent = startAgent({
    nodeId,
    describe,
    ...(overlay === undefined ? {} : { overlay }),
    dispatcher: sessionsAfter(options.ready, managers.dispatcher),
    engine,
    resolver,
    balancer,
    netnsPath: (id) => join(flags.runDir, 'engine', 'netns', id),
    disk: agentDisk(join(flags.stateDir, 'agent.state')),
    clock,
    random,
    logger,
  });
  return {
    agent,
    managers,
    graceMs: (taskId) => agent.find(taskId)?.spec.container.stopGraceMs ?? 10_000,
    examine: (peers, signal) =>
      examine(
        {
          nodeId,
          engine,
          assignments: () => agent.assignments(),
          overlay: place.overlay,
          secure: () => overlay?.secure(),
          clock,
          managers: place.managers,
          resolvConf: '/etc/resolv.conf',
        },
        peers,
        signal,
      ),
    rotateKey: () => overlay?.rotate() ?? Promise.resolve('unused'),
    async rest() {
      await agent.close();
      await overlay?.close();
    },
    close() {
      stopListening();
      void overlay?.close();
      managers.close();
      connection.close();
      resolver.close();
      balancer.close();
      void guard.close();
    },
  };
}

/** How old the routes may be that a node reports, ms. */
const ROUTES_KEPT_MS = 1000;

/** A dispatcher whose sessions begin after `ready`. */
function sessionsAfter(
  ready: Promise<void>,
  dispatcher: ServiceClient<typeof dispatcherService>,
): ServiceClient<typeof dispatcherService> {
  return {
    ...dispatcher,
    async *session(request, signal) {
      const given = Promise.withResolvers<void>();
      const stop = (): void => given.reject(new Error('stopping'));
      signal?.addEventListener('abort', stop, { once: true });
      try {
        await Promise.race([ready, given.promise]);
      } finally {
        signal?.removeEventListener('abort', stop);
      }
      yield* dispatcher.session(request, signal);
    },
  };
}
