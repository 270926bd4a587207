import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { jsonLogger } from '../../base/log.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { caInProcess } from '../../manager/ca/server.ts';
import { dekFile } from '../../manager/store/index.ts';
import { createEngine } from '../../node-engine/index.ts';
import { releaseProgram, trimMemory } from '../../node-engine/native/addon.ts';
import { identityOf } from '../../proto/rpc/certificate.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import {
  caService,
  controlService,
  daemonService,
  dispatcherService,
  imagesService,
  membershipService,
  tasksService,
} from '../../proto/rpc/services.ts';
import { containerIdOf } from '../../worker/agent/index.ts';
import { identityDisk, keepIdentity } from '../../worker/identity/index.ts';
import type { IdentityKeeper } from '../../worker/identity/index.ts';
import { loadSettings, saveSettings } from '../local-node/settings.ts';
import { clusterPlace } from './cluster-place.ts';
import { collectorAtRest } from './collect.ts';
import { doorAt } from './door.ts';
import type { DaemonFlags } from './flags.ts';
import { forceNewCluster } from './force-new-cluster.ts';
import { nodeIdentity } from './identity.ts';
import { guardedPorts } from './addresses.ts';
import { trimAtRest } from './idle-memory.ts';
import { joinAsRequested, takeBackJoin } from './join-request.ts';
import { nodeLock } from './lock.ts';
import { startManager } from './manager.ts';
import { managersCa } from './own-ca.ts';
import type { Manager } from './manager.ts';
import { eraseManager, followRole, handOver } from './role.ts';
import { daemonHandlers } from './services/daemon.ts';
import { imagesHandlers } from './services/images.ts';
import { late } from './services/late.ts';
import { genericResources } from '../local-node/generic-resources.ts';
import { lockedError } from './services/locked.ts';
import { tasksHandlers } from './services/tasks.ts';
import { storeRequest, storeRequestTaken } from './store-request.ts';
import { notifySystemd } from './systemd.ts';
import { waitForKey } from './wait-for-key.ts';
import { startWork } from './work.ts';
import type { Work } from './work.ts';

/** Starts every part of a node in this process and ends them on SIGTERM or SIGINT. Containers run on. */
export async function runDaemon(given: DaemonFlags): Promise<void> {
  const logger = openLogger(given);
  const kept = loadSettings(given.stateDir);
  const flags = {
    ...given,
    nodeName: given.nodeName || (kept.nodeName ?? ''),
    engineLabels: given.engineLabels ?? kept.engineLabels ?? {},
    genericResources: given.genericResources ?? kept.genericResources ?? [],
    cgroupParent: given.cgroupParent || (kept.cgroupParent ?? 'tsswarm'),
  };
  const clock = systemClock;
  const random = systemRandom;
  const startedAt = clock.now();
  const version = packageVersion();
  mkdirSync(flags.stateDir, { recursive: true, mode: 0o711 });
  mkdirSync(flags.runDir, { recursive: true, mode: 0o711 });
  const life = new AbortController();
  const stopping = Promise.withResolvers<void>();
  let cleanUp: () => void = () => undefined;
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stopping.resolve());

  const cpuTime = (): number => {
    const { user, system } = process.cpuUsage();
    return user + system;
  };
  const collect = collectorAtRest();
  const trim = (): void => {
    collect();
    trimMemory();
    releaseProgram();
  };
  const stopTrimming = trimAtRest(clock, { cpuTime, trim });
  life.signal.addEventListener('abort', stopTrimming);

  // The engine's lock keeps a second daemon away from the same state before anything of it is read.
  const engine = await createEngine({ ...flags, logger, clock, version });
  saveSettings(flags.stateDir, flags);
  const { hostname, platform, nanoCpus, memoryBytes, live } = engine.info();
  const description = {
    hostname: flags.nodeName || hostname,
    platform,
    resources: { nanoCpus, memoryBytes, generic: genericResources(flags.genericResources) },
    engine: { version, labels: flags.engineLabels },
    live,
    networkDrivers: (await engine.networks.optionalDrivers?.()) ?? [],
  };
  const managerDir = join(flags.stateDir, 'manager');
  const lock = nodeLock(managerDir, random);
  const disk = identityDisk(join(flags.stateDir, 'identity'), () => lock.protection());
  const place = clusterPlace(flags);
  const door = doorAt(flags.socket, () => engine.expectStart());
  const fatal = (message: string) => (error: Error) => {
    logger.error(message, { reason: error.message });
    process.exit(1);
  };
  let identity: LiveIdentity | undefined;
  const demandIdentity = (): LiveIdentity => {
    if (identity === undefined) throw lockedError();
    return identity;
  };
  const storeAsked = flags.store ?? storeRequest(flags.stateDir);
  let manager: Manager | undefined;
  let managerRestarts = false;
  const answering = Promise.withResolvers<void>();
  const tasks = tasksHandlers(
    engine,
    clock,
    (taskId, signal) => {
      if (started.work === undefined) throw new TsswarmError('UNAVAILABLE', 'waiting for a task: the node is starting');
      return started.work.agent.whenStarted(taskId, signal);
    },
    (peers, signal) => {
      if (started.work === undefined)
        throw new TsswarmError('UNAVAILABLE', 'examining the network: the node is starting');
      return started.work.examine(peers, signal);
    },
    () => {
      if (started.work === undefined) throw new TsswarmError('UNAVAILABLE', 'rotating the key: the node is starting');
      return started.work.rotateKey();
    },
    (taskIds) => {
      if (started.work === undefined) throw new TsswarmError('UNAVAILABLE', 'looking at tasks: the node is starting');
      return started.work.agent.look(taskIds);
    },
  );
  const workOf = (nodeId: NodeId): Work =>
    startWork({
      nodeId,
      flags,
      place,
      description,
      engine,
      identity: demandIdentity,
      isManager: () => manager !== undefined,
      tasks,
      ready: answering.promise,
      clock,
      random,
      logger,
    });
  const stop = (finish: () => void): void => {
    cleanUp = finish;
    // The answer to the caller goes out first.
    clock.startTimer(50, () => stopping.resolve());
  };
  const announce = (): void => {
    notifySystemd('READY=1');
    if (flags.readyFd < 0) return;
    writeSync(flags.readyFd, 'ready\n');
    closeSync(flags.readyFd);
  };
  /** What has been started so far. */
  const started: { work?: Work; keeper?: IdentityKeeper; roles?: Promise<void> } = {};
  const end = async (): Promise<void> => {
    logger.info('stopping; containers run on');
    notifySystemd('STOPPING=1');
    await started.work?.agent.close();
    life.abort(new Error('stopping'));
    await started.keeper?.close();
    await started.roles;
    started.work?.close();
    door.close();
    await handOver(manager, logger);
    await manager?.close();
    await engine.close();
    cleanUp();
  };

  // Containers are taken up while the manager gets ready.
  const recovering = engine.recover().then(() => engine.networks.guardPorts(guardedPorts(place.listenAddr)));
  recovering.catch(() => undefined);
  const own = await disk.peek();
  const isLocked = own !== undefined && lock.isLocked() && (own.node.role === 'manager' || own.sealed);
  if (isLocked) {
    await recovering;
    const locked = workOf(own.node.nodeId);
    started.work = locked;
    const outcome = await waitForKey({
      door,
      flags,
      version,
      node: own.node,
      lock,
      engine,
      logger,
      startedAt,
      graceMs: locked.graceMs,
      endAgent: () => locked.rest(),
      stop,
      answering: announce,
      stopping: stopping.promise,
    });
    if (outcome === 'stopping') return end();
  }

  const before = await disk.load();
  const saved = before ?? (await joinAsRequested(flags.stateDir, place, description, disk, clock));
  const nodeId = saved === undefined ? nodeIdentity(flags.stateDir, random) : identityOf(saved.certificate).nodeId;
  const beManager = async (mine: LiveIdentity | undefined): Promise<Manager> => {
    const begun = await startManager({
      store: storeAsked,
      nodeId,
      stateDir: flags.stateDir,
      addressPools: flags.addressPools,
      description,
      identity: mine,
      disk,
      lock,
      tasks,
      hasTask: (taskId) => engine.containers.inspect(containerIdOf(taskId)) !== undefined,
      listenAddr: place.listenAddr,
      mayGoUnheard: place.mayGoUnheard,
      advertiseAddr: place.advertiseAddr,
      managers: place.managers(),
      learn: place.learn,
      clock,
      random,
      logger,
      onFatal: fatal('the store cannot be written: stopping'),
    });
    manager = begun;
    try {
      await begun.takePlace();
      storeRequestTaken(flags.stateDir);
      return begun;
    } catch (error) {
      manager = undefined;
      await begun.close();
      throw error;
    }
  };
  const beWorker = async (): Promise<void> => {
    const former = manager;
    manager = undefined;
    await former?.close();
    await lock.release(() => disk.reseal());
    await eraseManager(managerDir);
  };
  const known = saved === undefined ? undefined : createLiveIdentity(saved);
  if (storeAsked !== undefined && known?.node.role === 'worker') {
    throw new TsswarmError('INVALID_INPUT', 'using --store: this node is a worker, and only managers use the store', {
      hint: 'start it without: tsswarm init',
    });
  }
  if (known === undefined || known.node.role === 'manager') {
    try {
      const { identity: made } = await beManager(known);
      identity = known ?? made;
    } catch (error) {
      if (before === undefined && known !== undefined) await takeBackJoin(known, place.managers(), logger);
      throw error;
    }
  } else {
    identity = known;
    // It stopped between becoming a worker and forgetting what a manager knows.
    if (existsSync(dekFile(managerDir))) await beWorker();
  }
  await recovering;

  const mine = identity;
  const { managers, graceMs, rest } = (started.work ??= workOf(nodeId));
  const demandManager = (): Manager => {
    if (manager !== undefined) return manager;
    if (managerRestarts)
      throw new TsswarmError('UNAVAILABLE', 'asking this node for the cluster: its manager is starting again');
    throw new TsswarmError('PERMISSION_DENIED', 'asking this node for the cluster: it is a worker, not a manager', {
      hint: `run the command on a manager, or make this node one: tsswarm node promote ${nodeId}`,
    });
  };
  await door.open((serve) => {
    serve(
      controlService,
      late(controlService, () => demandManager().control),
    );
    serve(
      dispatcherService,
      late(dispatcherService, () => demandManager().dispatcher),
    );
    serve(
      membershipService,
      late(membershipService, () => demandManager().membership),
    );
    serve(
      tasksService,
      late(tasksService, () => manager?.tasks ?? tasks),
    );
    serve(imagesService, imagesHandlers(engine));
    serve(
      daemonService,
      daemonHandlers({
        flags,
        version,
        nodeId,
        identity: mine,
        manager: () => manager,
        managers,
        engine,
        clock,
        logger,
        startedAt,
        graceMs,
        renewalProblem: () => started.keeper?.problem() ?? '',
        lockedBy: () => lock.lockedBy(),
        endAgent: rest,
        async forceNewCluster() {
          forceNewCluster(managerDir);
          const former = manager;
          managerRestarts = true;
          manager = undefined;
          try {
            await former?.close();
            return (await beManager(mine)).givenUp;
          } catch (error) {
            // The next start goes on with it.
            fatal('a new cluster could not be forced: stopping')(error as Error);
            throw error;
          } finally {
            managerRestarts = false;
          }
        },
        stop,
      }),
    );
  });
  answering.resolve();
  started.roles = followRole({
    identity: mine,
    logger,
    clock,
    signal: life.signal,
    begin: async () => void (await beManager(mine)),
    end: beWorker,
  });
  started.keeper = keepIdentity({
    identity: mine,
    disk,
    ca: () =>
      manager === undefined
        ? managers.connection().service(caService)
        : managersCa(
            caInProcess(manager.ca, () => mine.node),
            managers,
          ),
    clock,
    random,
    logger,
  });
  logger.info('ready', { nodeId, socket: flags.socket, version, role: mine.node.role });
  if (!isLocked) announce();

  await stopping.promise;
  await end();
}

function openLogger({ logFile, logLevel }: DaemonFlags): Logger {
  if (logFile !== '') mkdirSync(dirname(logFile), { recursive: true });
  const descriptor = logFile === '' ? 2 : openSync(logFile, 'a', 0o600);
  const logger = jsonLogger(
    (line) => writeSync(descriptor, line),
    () => systemClock.now(),
    logLevel,
  );
  process.on('unhandledRejection', (reason) => {
    // A broken invariant ends the process: containers run on, and the next start recomputes everything.
    logger.error('unhandled rejection', {
      reason: reason instanceof Error ? (reason.stack ?? reason.message) : messageOf(reason),
    });
    process.exit(70);
  });
  return logger;
}

/** The version in package.json, which lies above this file in the sources and in the build. */
function packageVersion(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (name === 'tsswarm') return version ?? '0.0.0';
    } catch {
      // Not here: one folder up.
    }
  }
  return '0.0.0';
}
