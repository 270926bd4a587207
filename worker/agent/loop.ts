import { Coalesced, Semaphore } from '../../base/async.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { ContainerId, NetworkId, NodeId, TaskId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Engine } from '../../node-engine/types.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { dispatcherService } from '../../proto/rpc/services.ts';
import type {
  AssignmentChange,
  Drift,
  Network,
  NetworkEndpoint,
  NodeDescription,
  ServiceAddress,
  Task,
  TaskStatus,
  TaskStatusUpdate,
} from '../../proto/types/index.ts';
import type { Assignments } from './assignments.ts';
import type { BalancedAddress } from './balanced.ts';
import { balancedAddresses, isLocalOnly } from './balanced.ts';
import { NO_ASSIGNMENTS, NO_REMOVALS, applyChange, endpointKey, serviceAddressKey, toSet } from './assignments.ts';
import { containerIdOf } from './container-id.ts';
import { createBridges } from './bridges.ts';
import type { AgentDisk } from './disk.ts';
import { watchDrift } from './drift/loop.ts';
import { imageKeys } from './image-keys.ts';
import { isFenced } from './lease/fenced.ts';
import { keepLease } from './lease/loop.ts';
import { portForwards, portKey, portNodes, serves } from './ports.ts';
import { createSession } from './session/client.ts';
import { TASK_ID_LABEL } from './task/container-request.ts';
import type { TaskController } from './task/loop.ts';
import { startTaskController } from './task/loop.ts';
import { isFinal } from './task/step.ts';

/** Containers that are made or started at the same moment: more only contend for the kernel's mount and netlink locks. */
const STARTING_AT_ONCE = 8;
/** Reports of one burst are made as one; what comes while a report is under way is the next one. */
const GATHER_MS = 1;
/**
 * A step on the way to running is told when it takes longer than this, or with the next report: each report is a write to the disks of
 * all managers, and most containers run before anybody could have read of it.
 */
const STEP_MS = 20;
/**
 * The state is written whole, so changes are gathered first. What a crash takes of it, the engine's own records and the manager
 * have: the file is there for a start without a manager.
 */
const SAVE_AFTER_MS = 25;
/** Many tasks take long to write, and a write stops everything else: it is made that seldom, a share of one in twenty at most. */
const SAVE_REST = 20;
const LONGEST_SAVE_REST_MS = 1000;

/** The names that containers can resolve: worker/overlay/dns in production. */
export interface Resolver {
  changeNames(change: {
    /** All that was known before is forgotten. */
    readonly complete?: boolean;
    readonly endpoints?: readonly NetworkEndpoint[];
    readonly services?: readonly ServiceAddress[];
    /** Keys as in AssignmentChange. */
    readonly removedEndpoints?: readonly string[];
    readonly removedServices?: readonly string[];
  }): void;
  attach(request: {
    readonly containerId: ContainerId;
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
    readonly dns: readonly string[];
    readonly links?: readonly { readonly service: string; readonly alias: string }[];
    readonly running?: boolean;
  }): Promise<void>;
  detach(containerId: ContainerId): Promise<void>;
}

/** The way to other nodes on overlay networks: worker/overlay/tunnels in production. */
export interface Overlay {
  /** @param isCertain a manager has said so since the daemon started */
  update(view: Pick<Assignments, 'networks' | 'locations' | 'peers' | 'ingress'>, isCertain: boolean): void;
  /** The bridge is there: resolves when everybody on the network is reached. */
  connect(id: NetworkId): Promise<void>;
  /** The bridge is about to go. */
  disconnect(id: NetworkId): Promise<void>;
}

/** The virtual addresses that containers reach: worker/overlay/balance in production. */
export interface Balancer {
  setAddresses(addresses: readonly BalancedAddress[]): void;
  settled(): Promise<boolean>;
  attach(request: {
    readonly containerId: ContainerId;
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
    /** Nothing has run in it yet. */
    readonly fresh: boolean;
    readonly running?: boolean;
  }): Promise<void>;
  detach(containerId: ContainerId): void;
}

export interface AgentOptions {
  readonly nodeId: NodeId;
  /** What this node is and has. */
  readonly describe: () => NodeDescription;
  readonly dispatcher: ServiceClient<typeof dispatcherService>;
  readonly engine: Engine;
  readonly resolver: Resolver;
  /** Absent: networks end at this node. */
  readonly overlay?: Overlay;
  readonly balancer: Balancer;
  /** Path of a container's network namespace. */
  readonly netnsPath: (id: ContainerId) => string;
  readonly disk: AgentDisk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The worker of a node: makes its assignments true. */
export interface Agent {
  /** Ends the agent; containers run on. */
  close(): Promise<void>;
  /** The task of a container name or task id, for logs and exec. */
  find(taskId: string): Task | undefined;
  /** A network of the assignments. */
  network(id: NetworkId): Network | undefined;
  /** What the node shall have now. */
  assignments(): Assignments;
  /**
   * Resolves when the container of a task has been started, or the task has ended without; the task may not have come yet.
   * @throws the signal's reason
   */
  whenStarted(taskId: string, signal: AbortSignal): Promise<TaskStatus>;
  /** Looks now what somebody has changed by hand on the containers of tasks, and repairs it where it may. */
  look(taskIds: readonly string[]): Promise<ReadonlyMap<string, readonly Drift[]>>;
}

/** Takes up what was kept on disk, then connects to the manager. `engine.recover()` must have been called before. */
export function startAgent(options: AgentOptions): Agent {
  const { engine, clock, disk } = options;
  const logger = options.logger.child({ component: 'agent' });
  const life = new AbortController();
  const starting = new Semaphore(STARTING_AT_ONCE);
  const controllers = new Map<string, TaskController>();
  const { overlay } = options;
  const bridges = createBridges({
    networks: {
      ensureBridge: (request) => engine.networks.ensureBridge(request),
      listBridges: () => engine.networks.listBridges(),
      async removeBridge(id) {
        await overlay?.disconnect(id);
        await engine.networks.removeBridge(id);
      },
    },
    underlay: () => options.describe().overlay?.address ?? '',
    clock,
    logger,
  });
  const pending = new Map<string, TaskStatus>();
  const removed = { volumes: new Set<string>(), networks: new Set<string>() };
  const onlookers = new Map<string, Set<() => void>>();
  let assignments: Assignments = NO_ASSIGNMENTS;
  let portTroubles = new Map<string, string>();
  /** What the port table was made from last is true in the kernel. */
  let portsHold = true;
  let flushTimer: { readonly isLazy: boolean; readonly timer: Timer } | undefined;
  let saveTimer: Timer | undefined;
  let saveRestMs = 0;
  let flushing = false;

  /** What was heard of the managers is true as long as the lease has not run out since. */
  let isUpToDate = false;
  let lapses = 0;
  /** Everything was heard in the present session. */
  let isTold = false;
  /** Everything was heard once in this life. */
  let wasTold = false;
  const lease = keepLease({
    lease: engine.lease,
    clock,
    logger,
    onChange: () => {
      if (lease.stage() === 'over') {
        isUpToDate = false;
        lapses++;
      }
      wakeAll();
    },
  });
  const drift = watchDrift(() => controllers, { clock, random: options.random, logger });
  const wakeAll = (): void => {
    for (const controller of controllers.values()) controller.update(controller.task);
  };
  const files = { isLocalPath: (path: string) => engine.isLocalPath?.(path) ?? true };

  const session = createSession({
    ...options,
    logger,
    lease,
    images: () => imageKeys(engine.images.list()),
    onChange: (change) => void accept(change),
    // The lease ran out while it was told, or after: nothing more would come of itself.
    isOutdated: () => isTold && !isUpToDate && lease.stage() === 'held',
    onSession: () => {
      isTold = false;
      for (const [taskId, controller] of controllers) pending.set(taskId, controller.status);
      soon();
    },
  });

  /** Says what has gathered, one report at a time. */
  const flush = async (): Promise<void> => {
    flushTimer = undefined;
    if (flushing || life.signal.aborted) return;
    flushing = true;
    soonSaved();
    try {
      const updates: TaskStatusUpdate[] = [...pending].map(([taskId, status]) => ({
        taskId: taskId as TaskId,
        status,
      }));
      const report = { updates, removedVolumes: [...removed.volumes], removedNetworks: [...removed.networks] };
      if (updates.length + report.removedVolumes.length + report.removedNetworks.length === 0) return;
      await session.send(report);
      for (const { taskId, status } of updates) if (pending.get(taskId) === status) pending.delete(taskId);
      for (const name of report.removedVolumes) removed.volumes.delete(name);
      for (const name of report.removedNetworks) removed.networks.delete(name);
    } catch (error) {
      logger.debug('report kept for later', { reason: messageOf(error) });
      return;
    } finally {
      flushing = false;
    }
    soonIfNeeded();
  };
  const soon = (): void => {
    if (flushTimer?.isLazy === true) stopFlush();
    flushTimer ??= { isLazy: false, timer: clock.startTimer(GATHER_MS, () => void flush()) };
  };
  const soonUnlessRunning = (): void => {
    flushTimer ??= { isLazy: true, timer: clock.startTimer(STEP_MS, () => void flush()) };
  };
  const soonIfNeeded = (): void => {
    if (removed.volumes.size + removed.networks.size > 0 || [...pending.values()].some((status) => !isOnTheWay(status)))
      soon();
    else if (pending.size > 0) soonUnlessRunning();
  };
  const stopFlush = (): void => {
    flushTimer?.timer.cancel();
    flushTimer = undefined;
  };
  const soonSaved = (): void => {
    saveTimer ??= clock.startTimer(Math.max(SAVE_AFTER_MS, saveRestMs), () => {
      try {
        save();
      } catch (error) {
        logger.warn('state not saved, trying again with the next change', { reason: messageOf(error) });
      }
    });
  };
  const save = (): void => {
    saveTimer?.cancel();
    saveTimer = undefined;
    const statuses = [...controllers].map(([taskId, { status }]) => ({ taskId: taskId as TaskId, status }));
    const began = clock.monotonic();
    disk.save({ assignments: toSet(assignments), statuses });
    saveRestMs = Math.min(LONGEST_SAVE_REST_MS, (clock.monotonic() - began) * SAVE_REST);
  };

  /** Brings the node's port table up to date; changes that come meanwhile are taken together. */
  const portTable = new Coalesced(async () => {
    if (life.signal.aborted) return;
    const forwards = portForwards({
      nodeId: options.nodeId,
      ingress: assignments.ingress.values(),
      tasks: controllers.values(),
      peers: assignments.peers,
      networks: assignments.networks,
    });
    try {
      const failures = await engine.networks.setPorts(forwards, portNodes(options.nodeId, assignments.peers));
      portsHold = true;
      portTroubles = new Map(
        failures.map(({ forward, reason }) => [portKey({ ...forward, published: forward.port }), reason]),
      );
    } catch (error) {
      portsHold = false;
      logger.error('published ports', { reason: messageOf(error) });
    }
  });

  /**
   * Names lead to what serves, but not to what is being stopped here, or is on another node's own network of that name. Of a message that has
   * waited only what no later one has changed.
   */
  const changeNames = ({ kind, update, remove }: Pick<AssignmentChange, 'kind' | 'update' | 'remove'>): void => {
    const isHidden = ({ taskId, nodeId, networkId }: NetworkEndpoint): boolean =>
      controllers.get(taskId)?.leaving === true ||
      (nodeId !== options.nodeId && isLocalOnly(assignments.networks.get(networkId)));
    const complete = kind === 'complete';
    const endpoints = complete
      ? [...assignments.endpoints.values()]
      : update.endpoints.filter((one) => assignments.endpoints.get(endpointKey(one)) === one);
    const services = complete
      ? [...assignments.services.values()]
      : update.services.filter((one) => assignments.services.get(serviceAddressKey(one)) === one);
    const hidden = endpoints.filter(isHidden);
    options.resolver.changeNames({
      complete,
      endpoints: hidden.length === 0 ? endpoints : endpoints.filter((one) => !isHidden(one)),
      services,
      removedEndpoints: [
        ...remove.endpoints.filter((key) => !assignments.endpoints.has(key)),
        ...hidden.map(endpointKey),
      ],
      removedServices: remove.services.filter((key) => !assignments.services.has(key)),
    });
  };
  /** What is gone from the assignments is not named any more, whatever else is waited for. */
  const unname = (before: Assignments): void => {
    const gone = (old: ReadonlyMap<string, unknown>, now: ReadonlyMap<string, unknown>): readonly string[] =>
      old === now ? [] : [...old.keys()].filter((key) => !now.has(key));
    const removedEndpoints = gone(before.endpoints, assignments.endpoints);
    const removedServices = gone(before.services, assignments.services);
    if (removedEndpoints.length + removedServices.length > 0)
      options.resolver.changeNames({ removedEndpoints, removedServices });
  };
  const endpointKeys = ({ id, addresses }: Task): readonly string[] =>
    addresses.map(({ networkId }) => endpointKey({ taskId: id as TaskId, networkId }));
  /** Of a task that has come back in place: the managers may never have heard that it was away. */
  const nameAgain = (task: Task): void => {
    const endpoints = endpointKeys(task).flatMap((key) => assignments.endpoints.get(key) ?? []);
    if (endpoints.length > 0) options.resolver.changeNames({ endpoints });
  };

  let balanced: readonly BalancedAddress[] = [];
  /** Virtual addresses lead to what serves. */
  const balance = (): void => {
    if (assignments.services.size + balanced.length === 0 || life.signal.aborted) return;
    const now = balancedAddresses(
      {
        nodeId: options.nodeId,
        services: assignments.services.values(),
        endpoints: assignments.endpoints.values(),
        networks: assignments.networks,
        tasks: controllers.values(),
      },
      balanced,
    );
    if (now.length === balanced.length && now.every((one, index) => isSameAddress(one, balanced[index]))) return;
    balanced = now;
    options.balancer.setAddresses(now);
  };
  /** Own tasks that served when their addresses were looked at last. */
  const balancedTasks = new Set<string>();
  /** The same after news of one own task: most of them, on the way to its start, change nothing for others. */
  const balanceOne = (taskId: string): void => {
    const controller = controllers.get(taskId);
    const isServing = controller?.running === true && serves(controller.status);
    if (isServing === balancedTasks.has(taskId)) return;
    if (isServing) balancedTasks.add(taskId);
    else balancedTasks.delete(taskId);
    balance();
  };

  const prepareNetworks = async (task: Task): Promise<void> => {
    for (const { networkId } of task.addresses) {
      const network = assignments.networks.get(networkId);
      if (network === undefined) continue;
      await bridges.ensure(network);
      if (network.spec.driver === 'overlay') await overlay?.connect(network.id);
    }
  };

  const startController = (task: Task, status: TaskStatus): void => {
    controllers.set(
      task.id,
      startTaskController(task, status, {
        engine,
        clock,
        logger,
        describe: options.describe,
        starting,
        assignments: () => assignments,
        prepareNetworks: async (wanted) => {
          await prepareNetworks(wanted);
          await portTable.settled();
        },
        portTrouble: (wanted) => findPortTrouble(wanted, assignments, portTroubles),
        attachResolver: async (wanted, containerId, running) => {
          if (wanted.spec.networkMode !== 'networks') return;
          const place = {
            containerId,
            netnsPath: options.netnsPath(containerId),
            networks: wanted.addresses.map(({ networkId }) => networkId),
            ...(running === undefined ? {} : { running: true }),
          };
          await Promise.all([
            options.resolver.attach({
              ...place,
              dns: wanted.spec.container.dns,
              ...(wanted.spec.links === undefined ? {} : { links: wanted.spec.links }),
            }),
            options.balancer.attach({ ...place, fresh: engine.containers.inspect(containerId)?.state === 'created' }),
          ]);
        },
        detachResolver: detachNames,
        isFenced: (wanted) => isFenced(wanted, files),
        fencedMs: () => (lease.stage() === 'held' ? undefined : lease.leftMs()),
        mayStart: () => isUpToDate && lease.mayStart(),
        mayChange: () => wasTold,
        report: (taskId, next) => {
          const served = controllers.get(taskId);
          if (served?.leaving === false && serves(next)) nameAgain(served.task);
          const say = (): void => {
            pending.set(taskId, next);
            if (isOnTheWay(next)) soonUnlessRunning();
            else soon();
            tell(taskId);
          };
          balanceOne(taskId);
          // Nobody hears that a task serves before its ports and virtual addresses lead to it.
          if (!serves(next)) return say();
          const ready = [
            publishes(taskId) ? portTable.run() : undefined,
            hasVirtual(taskId) ? options.balancer.settled() : undefined,
          ];
          if (ready.every((one) => one === undefined)) return say();
          void Promise.all(ready).then(() => {
            // What has been said meanwhile is newer.
            if (controllers.get(taskId)?.status === next) say();
          });
        },
        runningChanged: () => {
          tell(task.id);
          balanceOne(task.id);
          if (controllers.get(task.id)?.task.ports.length !== 0) void portTable.run();
        },
        addressesChanged: async ({ id }) => {
          balance();
          for (const other of controllers.values()) if (other.task.networkTask === id) other.refresh();
          await Promise.all([publishes(id) ? portTable.run() : undefined, options.balancer.settled()]);
        },
        withdraw: async (wanted) => {
          options.resolver.changeNames({ removedEndpoints: endpointKeys(wanted) });
          balance();
          await Promise.all([publishes(wanted.id) ? portTable.run() : undefined, options.balancer.settled()]);
        },
      }),
    );
  };

  const publishes = (taskId: string): boolean => {
    const task = controllers.get(taskId)?.task;
    if (task === undefined) return false;
    return (
      task.ports.length > 0 || [...assignments.ingress.values()].some(({ serviceId }) => serviceId === task.serviceId)
    );
  };
  const hasVirtual = (taskId: string): boolean => {
    const serviceId = controllers.get(taskId)?.task.serviceId;
    return [...assignments.services.values()].some((service) => service.serviceId === serviceId);
  };
  const detachNames = async (containerId: ContainerId): Promise<void> => {
    options.balancer.detach(containerId);
    await options.resolver.detach(containerId);
  };
  const tell = (taskId: string): void => onlookers.get(taskId)?.forEach((look) => look());

  const whenStarted: Agent['whenStarted'] = (taskId, signal) =>
    new Promise((resolve, reject) => {
      const looks = onlookers.get(taskId) ?? new Set();
      onlookers.set(taskId, looks);
      const done = (): void => {
        looks.delete(look);
        if (looks.size === 0) onlookers.delete(taskId);
        signal.removeEventListener('abort', leave);
      };
      const leave = (): void => {
        done();
        reject(signal.reason as Error);
      };
      const look = (): void => {
        const controller = controllers.get(taskId);
        if (controller === undefined || !(controller.running || isFinal(controller.status.state))) return;
        done();
        resolve(controller.status);
      };
      looks.add(look);
      signal.addEventListener('abort', leave, { once: true });
      look();
    });

  /** Takes over one message: names first, then ports, then the tasks that need both. */
  const accept = async (change: AssignmentChange): Promise<void> => {
    const before = assignments;
    const lapsesBefore = lapses;
    assignments = applyChange(before, change);
    balance();
    if (assignments.services !== before.services) {
      unname(before);
      // A name leads to a virtual address when that leads somewhere.
      await options.balancer.settled();
    }
    if (
      change.kind === 'complete' ||
      assignments.endpoints !== before.endpoints ||
      assignments.services !== before.services
    )
      changeNames(change);
    const isElsewhere =
      assignments.locations !== before.locations ||
      assignments.peers !== before.peers ||
      assignments.ingress.size > 0 !== before.ingress.size > 0 ||
      assignments.networks !== before.networks;
    if (isElsewhere || change.kind === 'complete') overlay?.update(assignments, true);
    // Said once at least, also when there are none: rules of an earlier life go then.
    if (assignments.ingress !== before.ingress || assignments.peers !== before.peers || change.kind === 'complete')
      await portTable.run();
    // The message before this one may have changed the ports, and wait for them still: its tasks' ports may be these tasks' too.
    else await portTable.settled();
    const balanceHolds = await options.balancer.settled();
    if (change.acknowledge === true && portsHold && balanceHolds) {
      session
        .acknowledge(change.sequence)
        .catch((error: unknown) => logger.debug('not acknowledged', { reason: messageOf(error) }));
    }
    if (change.kind === 'complete') wasTold = true;
    for (const [taskId, controller] of controllers) {
      if (assignments.tasks.has(taskId)) continue;
      controllers.delete(taskId);
      balancedTasks.delete(taskId);
      controller.close();
      pending.delete(taskId);
      await dropContainer(containerIdOf(taskId));
    }
    for (const task of assignments.tasks.values()) {
      const controller = controllers.get(task.id);
      if (controller === undefined) startController(task, firstStatus(task, clock.now()));
      else if (controller.task !== task) {
        const before = controller.addresses;
        controller.update(task);
        // A change that was taken back gives it again what it was about to leave.
        if (controller.addresses.some((one) => !before.some(({ ipv4 }) => ipv4 === one.ipv4))) {
          balance();
          if (publishes(task.id)) void portTable.run();
        }
      }
    }
    if (change.kind === 'complete') {
      if (engine.containers.checkDrift !== undefined) drift.begin();
      isTold = true;
      if (!isUpToDate && lapses === lapsesBefore) {
        isUpToDate = lease.stage() !== 'over';
        wakeAll();
      }
      await collectStrangers();
    }
    await removePending();
    soonIfNeeded();
  };

  /** A container whose task the manager no longer knows is not wanted by anybody. */
  const dropContainer = async (id: ContainerId): Promise<void> => {
    try {
      const container = engine.containers.inspect(id);
      if (container === undefined) return;
      await detachNames(id);
      if (container.state === 'running') await engine.containers.stop(id, { graceMs: 10_000 });
      await engine.containers.remove(id);
    } catch (error) {
      logger.warn('removing a container without a task', { containerId: id, reason: messageOf(error) });
    }
  };

  /** Containers and bridges that belong to no assignment are left over from before: they go. */
  const collectStrangers = async (): Promise<void> => {
    const wanted = new Set([...assignments.tasks.keys()].map((taskId) => containerIdOf(taskId)));
    for (const { id, labels } of engine.containers.list()) {
      if (labels[TASK_ID_LABEL] !== undefined && !wanted.has(id)) await dropContainer(id);
    }
    await bridges.collect(assigned());
  };

  const removePending = async (): Promise<void> => {
    for (const network of assignments.networks.values()) {
      if (!network.pendingDelete || usesNetwork(network.id)) continue;
      if (await bridges.remove(network.id)) removed.networks.add(network.spec.name);
    }
    bridges.keep(assigned());
    for (const volume of assignments.volumes.values()) {
      if (!volume.pendingDelete || usesVolume(volume.spec.name)) continue;
      try {
        await engine.volumes.remove(volume.spec.name);
        removed.volumes.add(volume.spec.name);
      } catch (error) {
        logger.debug('volume stays for now', { volume: volume.spec.name, reason: messageOf(error) });
      }
    }
  };
  const usesNetwork = (id: NetworkId): boolean =>
    [...controllers.values()].some(
      ({ task, status }) => status.state !== 'remove' && task.addresses.some(({ networkId }) => networkId === id),
    );
  /** A container that is just being made would make the volume anew. */
  const usesVolume = (name: string): boolean =>
    [...controllers.values()].some(
      ({ task, status }) =>
        status.state !== 'remove' &&
        task.spec.container.mounts.some((mount) => mount.type === 'volume' && mount.source === name),
    );
  const assigned = (): ReadonlySet<NetworkId> => new Set([...assignments.networks.values()].map(({ id }) => id));

  const kept = disk.load();
  if (kept !== undefined) {
    const statuses = new Map(kept.statuses.map(({ taskId, status }) => [taskId, status]));
    const remembered = { kind: 'complete', sequence: 0, update: kept.assignments, remove: NO_REMOVALS } as const;
    assignments = applyChange(NO_ASSIGNMENTS, remembered);
    changeNames(remembered);
    overlay?.update(assignments, false);
    for (const task of assignments.tasks.values()) {
      // What never ran waits for the manager: without its secrets it could only fail, and it may have been given up already, though
      // the file is from before that.
      const status = statuses.get(task.id);
      const container = engine.containers.inspect(containerIdOf(task.id));
      if (status !== undefined && container !== undefined && container.state !== 'created')
        startController(task, status);
    }
    balance();
    void portTable.run();
  }
  const running = session.run(life.signal);
  return {
    async close() {
      save();
      await session.goodbye();
      life.abort(new Error('the agent ends'));
      lease.close();
      drift.close();
      for (const controller of controllers.values()) controller.close();
      stopFlush();
      bridges.close();
      await running;
      await portTable.settled();
    },
    find: (taskId) => controllers.get(taskId)?.task,
    network: (id) => assignments.networks.get(id),
    assignments: () => assignments,
    whenStarted,
    look: (taskIds) => drift.look(taskIds),
  };
}

/** Nothing has gone wrong, and nothing waits for it. */
function isOnTheWay({ state, error }: TaskStatus): boolean {
  return error === '' && (state === 'accepted' || state === 'preparing' || state === 'starting');
}

const isSameAddress = (a: BalancedAddress, b: BalancedAddress | undefined): boolean =>
  a.address === b?.address && a.endpoints === b.endpoints && a.affinity === b.affinity && a.networkId === b.networkId;

/** What is known of a task at first sight. */
function firstStatus(task: Task, now: number): TaskStatus {
  return {
    ...task.status,
    timestamp: now,
    restartCount: Math.max(task.status.restartCount, initialRestartCount(task)),
  };
}

/** A task that was made after restarts obeys them already; only later ones restart it. */
function initialRestartCount(task: Task): number {
  return task.status.containerId === '' ? task.restartCount : task.status.restartCount;
}

function findPortTrouble(
  task: Task,
  assignments: Assignments,
  troubles: ReadonlyMap<string, string>,
): string | undefined {
  if (troubles.size === 0) return undefined;
  for (const { port, serviceId } of assignments.ingress.values()) {
    const reason = troubles.get(portKey(port));
    if (serviceId === task.serviceId && reason !== undefined && !task.oneOff) return reason;
  }
  return undefined;
}
