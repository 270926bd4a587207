import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { jsonLogger } from '../../base/log.ts';
import type { Logger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { caInProcess } from '../../manager/ca/server.ts';
import { createEngine } from '../../node-engine/index.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { identityOf } from '../../proto/rpc/certificate.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { createLocalServer } from '../../proto/rpc/local/server.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import {
  caService,
  controlService,
  daemonService,
  dispatcherService,
  imagesService,
  membershipService,
  tasksService,
} from '../../proto/rpc/services.ts';
import { agentDisk, startAgent } from '../../worker/agent/index.ts';
import { identityDisk, keepIdentity } from '../../worker/identity/index.ts';
import { createManagers } from '../../worker/managers/client.ts';
import { createResolver } from '../../worker/overlay/dns/index.ts';
import { loadSettings, saveSettings } from '../local-node/settings.ts';
import { clusterPlace } from './cluster-place.ts';
import type { DaemonFlags } from './flags.ts';
import { nodeIdentity } from './identity.ts';
import { joinAsRequested, takeBackJoin } from './join-request.ts';
import { startManager } from './manager.ts';
import type { Manager } from './manager.ts';
import { eraseManager, followRole, handOver } from './role.ts';
import { daemonHandlers } from './services/daemon.ts';
import { imagesHandlers } from './services/images.ts';
import { late } from './services/late.ts';
import { tasksHandlers } from './services/tasks.ts';
import { storeRequest, storeRequestTaken } from './store-request.ts';
import { notifySystemd } from './systemd.ts';
import { listenOnSocket } from './socket.ts';

/** Starts every part of a node in this process and ends them on SIGTERM or SIGINT. Containers run on. */
export async function runDaemon(given: DaemonFlags): Promise<void> {
  const logger = openLogger(given);
  const kept = loadSettings(given.stateDir);
  const flags = {
    ...given,
    nodeName: given.nodeName || (kept.nodeName ?? ''),
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

  // The engine's lock keeps a second daemon away from the same state before anything of it is read.
  const engine = await createEngine({ ...flags, logger, clock, version });
  saveSettings(flags.stateDir, flags);
  const { hostname, platform, nanoCpus, memoryBytes } = engine.info();
  const description = {
    hostname: flags.nodeName || hostname,
    platform,
    resources: { nanoCpus, memoryBytes },
    engine: { version, labels: {} },
  };
  const disk = identityDisk(join(flags.stateDir, 'identity'));
  const place = clusterPlace(flags);
  const before = await disk.load();
  const saved = before ?? (await joinAsRequested(flags.stateDir, place, description, disk, clock));
  const nodeId = saved === undefined ? nodeIdentity(flags.stateDir, random) : identityOf(saved.certificate).nodeId;
  const fatal = (message: string) => (error: Error) => {
    logger.error(message, { reason: error.message });
    process.exit(1);
  };
  const storeAsked = flags.store ?? storeRequest(flags.stateDir);
  let manager: Manager | undefined;
  const beManager = async (identity: LiveIdentity | undefined): Promise<void> => {
    const begun = await startManager({
      store: storeAsked,
      nodeId,
      stateDir: flags.stateDir,
      addressPools: flags.addressPools,
      description,
      identity,
      disk,
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
    } catch (error) {
      manager = undefined;
      await begun.close();
      throw error;
    }
  };
  const known = saved === undefined ? undefined : createLiveIdentity(saved);
  if (storeAsked !== undefined && known?.node.role === 'worker') {
    throw new TsswarmError('INVALID_INPUT', 'using --store: this node is a worker, and only managers use the store', {
      hint: 'start it without: tsswarm init',
    });
  }
  // Containers are taken up while the manager gets ready.
  const recovering = engine.recover();
  recovering.catch(() => undefined);
  if (known === undefined || known.node.role === 'manager') {
    try {
      await beManager(known);
    } catch (error) {
      if (before === undefined && known !== undefined) await takeBackJoin(known, place.managers(), logger);
      throw error;
    }
  }
  await recovering;
  const identity = known ?? manager?.identity;
  if (identity === undefined) throw new TsswarmError('INTERNAL', 'starting the node: it has no identity');

  const { socket } = flags;
  const connection = connectLocal(socket);
  const managers = createManagers({
    identity: () => identity,
    clock,
    addresses: place.managers,
    learn: place.learn,
    local: () => (manager === undefined ? undefined : connection.service(dispatcherService)),
  });
  const demandManager = (): Manager => {
    if (manager !== undefined) return manager;
    throw new TsswarmError('PERMISSION_DENIED', 'asking this node for the cluster: it is a worker, not a manager', {
      hint: `run the command on a manager, or make this node one: tsswarm node promote ${nodeId}`,
    });
  };
  const servers = { rpc: createRpcServer(), local: createLocalServer() };
  const serve = <S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>): void => {
    servers.rpc.add(definition, handlers);
    servers.local.add(definition, handlers);
  };
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
    tasksHandlers(engine.containers, (taskId, signal) => agent.whenStarted(taskId, signal)),
  );
  serve(imagesService, imagesHandlers(engine));
  serve(
    daemonService,
    daemonHandlers({
      flags,
      version,
      nodeId,
      identity,
      manager: () => manager,
      managers,
      engine,
      clock,
      logger,
      startedAt,
      graceMs: (taskId) => agent.find(taskId)?.spec.container.stopGraceMs ?? 10_000,
      endAgent: () => agent.close(),
      stop: (finish) => {
        cleanUp = finish;
        // The answer to the caller goes out first.
        clock.startTimer(50, () => stopping.resolve());
      },
    }),
  );
  const listening = await listenOnSocket(servers, socket);

  const resolver = createResolver({
    clock,
    random,
    networkName: (id) => agent.network(id)?.spec.name,
    resolvConf: '/etc/resolv.conf',
  });
  const agent = startAgent({
    nodeId,
    describe: () => description,
    dispatcher: managers.dispatcher,
    engine,
    resolver,
    netnsPath: (id) => join(flags.runDir, 'engine', 'netns', id),
    disk: agentDisk(join(flags.stateDir, 'agent.state')),
    clock,
    random,
    logger,
  });
  const roles = followRole({
    identity,
    logger,
    clock,
    signal: life.signal,
    begin: () => beManager(identity),
    async end() {
      const before = manager;
      manager = undefined;
      await before?.close();
      await eraseManager(join(flags.stateDir, 'manager'));
    },
  });
  const keeper = keepIdentity({
    identity,
    disk,
    ca: () =>
      manager === undefined ? managers.connection().service(caService) : caInProcess(manager.ca, () => identity.node),
    clock,
    random,
    logger,
  });
  logger.info('ready', { nodeId, socket, version, role: identity.node.role });
  notifySystemd('READY=1');
  if (flags.readyFd >= 0) {
    writeSync(flags.readyFd, 'ready\n');
    closeSync(flags.readyFd);
  }

  await stopping.promise;
  logger.info('stopping; containers run on');
  notifySystemd('STOPPING=1');
  await agent.close();
  life.abort(new Error('stopping'));
  await keeper.close();
  await roles;
  managers.close();
  connection.close();
  listening.close();
  servers.local.close();
  servers.rpc.close();
  await handOver(manager, logger);
  await manager?.close();
  resolver.close();
  await engine.close();
  cleanUp();
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
