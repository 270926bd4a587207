import { Semaphore } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { ContainerId, NetworkId, NodeId, TaskId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Engine } from '../../node-engine/types.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { dispatcherService } from '../../proto/rpc/services.ts';
import type { AssignmentChange, Drift, Network, NodeDescription, Task, TaskStatus } from '../../proto/types/index.ts';
import type { Assignments } from './assignments.ts';
import { NO_ASSIGNMENTS, NO_REMOVALS, applyChange, toSet } from './assignments.ts';
import { createBindSources } from './bind-sources.ts';
import { createBridges } from './bridges.ts';
import { containerIdOf } from './container-id.ts';
import type { AgentDisk } from './disk.ts';
import { watchDrift } from './drift/loop.ts';
import { imageKeys } from './image-keys.ts';
import { keepLease } from './lease/loop.ts';
import type { Balancer, Overlay, Resolver } from './networking.ts';
import { createOnlookers } from './onlookers.ts';
import { createRemoval } from './removal/loop.ts';
import { createReports } from './reports/loop.ts';
import { createSaving } from './saving/loop.ts';
import { createVirtualAddresses } from './serving/addresses.ts';
import { createNames } from './serving/names.ts';
import { createPortTable } from './serving/port-table.ts';
import { createSession } from './session/client.ts';
import { detachContainer, taskSurroundings } from './surroundings.ts';
import type { TaskController } from './task/controller.ts';
import { startTaskController } from './task/loop.ts';

/** Containers that are made or started at the same moment: more only contend for the kernel's mount and netlink locks. */
const STARTING_AT_ONCE = 8;

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
  const controllers = new Map<string, TaskController>();
  const { overlay } = options;
  let assignments: Assignments = NO_ASSIGNMENTS;
  const bridges = createBridges({
    networks: {
      ensureBridge: (request) => engine.networks.ensureBridge(request),
      listBridges: () => engine.networks.listBridges(),
      async removeBridge(id) {
        await overlay?.disconnect(id);
        await engine.networks.removeBridge(id);
      },
    },
    assigned: () => new Set([...assignments.networks.values()].map(({ id }) => id)),
    underlay: () => options.describe().overlay?.address ?? '',
    clock,
    logger,
  });

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
  /** The bridges that containers are on. */
  const restoreBridges = async (): Promise<void> => {
    const used = new Set(
      [...controllers.values()].flatMap(({ addresses }) => addresses.map(({ networkId }) => networkId)),
    );
    const restored = await bridges.restore([...assignments.networks.values()].filter(({ id }) => used.has(id)));
    // Each for itself: a tunnel that cannot be made is tried again by itself, once it is known what it joins.
    const joined = restored.filter(({ spec }) => spec.driver === 'overlay').map(({ id }) => overlay?.connect(id));
    for (const end of await Promise.allSettled(joined))
      if (end.status === 'rejected') logger.warn('joining a tunnel again', { reason: messageOf(end.reason) });
  };
  const drift = watchDrift(() => controllers, restoreBridges, { clock, random: options.random, logger });
  const wake = (controller: TaskController | undefined): void => controller?.update(controller.task);
  const wakeAll = (): void => {
    for (const controller of controllers.values()) wake(controller);
  };
  const { pathExists } = engine;
  const bindSources =
    pathExists === undefined
      ? undefined
      : createBindSources({ exists: (path) => pathExists(path), clock, onChange: () => session.hurry() });
  const session = createSession({
    ...options,
    ...(bindSources === undefined ? {} : { bindSources }),
    logger,
    lease,
    images: () => imageKeys(engine.images.list()),
    onChange: (change) => void accept(change),
    // The lease ran out while it was told, or after: nothing more would come of itself.
    isOutdated: () => isTold && !isUpToDate && lease.stage() === 'held',
    onSession: () => {
      isTold = false;
      reports.sayAll([...controllers].map(([taskId, { status }]) => [taskId, status]));
    },
  });

  const saving = createSaving(
    () => ({
      assignments: toSet(assignments),
      statuses: [...controllers].map(([taskId, { status }]) => ({ taskId: taskId as TaskId, status })),
    }),
    { disk, clock, logger },
  );
  const reports = createReports({
    send: (report) => session.send(report),
    onReport: () => saving.soon(),
    onHeard: (taskId) => wake(controllers.get(taskId)),
    clock,
    logger,
  });
  const known = { nodeId: options.nodeId, assignments: () => assignments, controllers, life: life.signal, logger };
  const names = createNames({ ...known, resolver: options.resolver });
  const addresses = createVirtualAddresses({
    ...known,
    balancer: options.balancer,
    clock,
    ...(overlay === undefined ? {} : { overlay }),
  });
  const ports = createPortTable({ ...known, networks: engine.networks });
  const onlookers = createOnlookers(controllers);
  const detach = (id: ContainerId): Promise<void> => detachContainer(options, id);
  const removal = createRemoval({ ...known, engine, bridges, reports, detach });
  const surroundings = taskSurroundings(
    {
      ...known,
      options,
      starting: new Semaphore(STARTING_AT_ONCE),
      bridges,
      names,
      addresses,
      ports,
      reports,
      onlookers,
      lease,
      ...(bindSources === undefined ? {} : { bindSources }),
      isUpToDate: () => isUpToDate,
      wasTold: () => wasTold,
    },
    logger,
  );
  const startController = (task: Task, status: TaskStatus): void => {
    controllers.set(task.id, startTaskController(task, status, surroundings));
  };

  /** Everything up to and with that message is true here, once virtual addresses have followed; no task waits for that. */
  const acknowledge = async (sequence: number): Promise<void> => {
    try {
      if ((await options.balancer.settled()) && ports.holds) await session.acknowledge(sequence);
    } catch (error) {
      logger.debug('not acknowledged', { reason: messageOf(error) });
    }
  };

  /** Resolves when containers of an earlier life that nobody wants are gone. */
  let strangers = Promise.resolve();
  /** Takes over one message: names first, then ports, then the tasks that need both. */
  const accept = async (change: AssignmentChange): Promise<void> => {
    const before = assignments;
    const lapsesBefore = lapses;
    assignments = applyChange(before, change);
    const isElsewhere =
      assignments.locations !== before.locations ||
      assignments.peers !== before.peers ||
      assignments.ingress.size > 0 !== before.ingress.size > 0 ||
      assignments.networks !== before.networks;
    if (isElsewhere || change.kind === 'complete') overlay?.update(assignments, true);
    addresses.follow(before);
    if (assignments.services !== before.services) {
      names.dropGone(before);
      // A name leads to a virtual address when that leads somewhere.
      await options.balancer.settled();
    }
    if (
      change.kind === 'complete' ||
      assignments.endpoints !== before.endpoints ||
      assignments.services !== before.services
    )
      names.change(change);
    // Said once at least, also when there are none: rules of an earlier life go then.
    if (assignments.ingress !== before.ingress || assignments.peers !== before.peers || change.kind === 'complete')
      await ports.run();
    // The message before this one may have changed the ports, and wait for them still: its tasks' ports may be these tasks' too.
    else await ports.settled();
    if (change.acknowledge === true) void acknowledge(change.sequence);
    if (change.kind === 'complete') wasTold = true;
    for (const [taskId, controller] of controllers) {
      if (assignments.tasks.has(taskId)) continue;
      controllers.delete(taskId);
      addresses.forget(taskId);
      controller.close();
      reports.forget(taskId);
      await removal.dropContainer(containerIdOf(taskId));
    }
    // Nobody controls the container yet of what the message before this one still wanted: that one waits for what an earlier life has left.
    for (const taskId of change.remove.tasks)
      if (!controllers.has(taskId) && !assignments.tasks.has(taskId as TaskId))
        await removal.dropContainer(containerIdOf(taskId));
    for (const task of assignments.tasks.values()) {
      const controller = controllers.get(task.id);
      if (controller !== undefined && controller.task !== task) {
        const before = controller.addresses;
        controller.update(task);
        // A change that was taken back gives it again what it was about to leave.
        if (controller.addresses.some((one) => !before.some(({ ipv4 }) => ipv4 === one.ipv4))) {
          addresses.update();
          if (ports.publishes(task.id)) void ports.run();
        }
      }
    }
    // A container that was started just before this daemon died, and of which nothing was kept, may write what one that comes writes.
    if (change.kind === 'complete') strangers = removal.collectStrangers();
    await strangers;
    for (const task of assignments.tasks.values())
      if (!controllers.has(task.id)) startController(task, firstStatus(task, clock.now()));
    if (change.kind === 'complete') {
      if (engine.containers.checkDrift !== undefined) drift.begin();
      isTold = true;
      if (!isUpToDate && lapses === lapsesBefore) {
        isUpToDate = lease.stage() !== 'over';
        wakeAll();
      }
    }
    await removal.removePending();
    reports.soonIfNeeded();
  };

  const kept = disk.load();
  if (kept !== undefined) {
    const statuses = new Map(kept.statuses.map(({ taskId, status }) => [taskId, status]));
    const remembered = { kind: 'complete', sequence: 0, update: kept.assignments, remove: NO_REMOVALS } as const;
    assignments = applyChange(NO_ASSIGNMENTS, remembered);
    names.change(remembered);
    overlay?.update(assignments, false);
    for (const task of assignments.tasks.values()) {
      // What never ran waits for the manager: without its secrets it could only fail, and it may have been given up already, though
      // the file is from before that.
      const status = statuses.get(task.id);
      const container = engine.containers.inspect(containerIdOf(task.id));
      if (status !== undefined && container !== undefined && container.state !== 'created')
        startController(task, status);
    }
    addresses.update();
    void ports.run();
  }
  const running = session.run(life.signal);
  return {
    async close() {
      saving.now();
      await session.goodbye();
      life.abort(new Error('the agent ends'));
      lease.close();
      drift.close();
      for (const controller of controllers.values()) controller.close();
      reports.close();
      bridges.close();
      await running;
      await ports.settled();
    },
    find: (taskId) => controllers.get(taskId)?.task,
    network: (id) => assignments.networks.get(id),
    assignments: () => assignments,
    whenStarted: (taskId, signal) => onlookers.whenStarted(taskId, signal),
    look: (taskIds) => drift.look(taskIds),
  };
}

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
