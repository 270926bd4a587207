import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import { jsonLogger } from '../../base/log.ts';
import type { Logger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { bootstrapCluster } from '../../manager/ca/bootstrap.ts';
import { createControl } from '../../manager/control/server.ts';
import { createDispatcher } from '../../manager/dispatcher/server.ts';
import { lead } from '../../manager/leader.ts';
import { openStore } from '../../manager/store/index.ts';
import { createEngine } from '../../node-engine/index.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { createLocalServer } from '../../proto/rpc/local/server.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import {
  controlService,
  daemonService,
  dispatcherService,
  imagesService,
  tasksService,
} from '../../proto/rpc/services.ts';
import { agentDisk, startAgent } from '../../worker/agent/index.ts';
import { createResolver } from '../../worker/overlay/dns/index.ts';
import type { DaemonFlags } from './flags.ts';
import { nodeIdentity } from './identity.ts';
import { daemonHandlers } from './services/daemon.ts';
import { imagesHandlers } from './services/images.ts';
import { tasksHandlers } from './services/tasks.ts';
import { notifySystemd } from './systemd.ts';
import { listenOnSocket } from './socket.ts';

/** Starts every part of a node in this process and ends them on SIGTERM or SIGINT. Containers run on. */
export async function runDaemon(flags: DaemonFlags): Promise<void> {
  const logger = openLogger(flags);
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
  const nodeId = nodeIdentity(flags.stateDir, random);
  const opened = await openStore({
    dir: join(flags.stateDir, 'manager'),
    id: nodeId,
    clock,
    random,
    logger,
    onFatal: (error) => {
      logger.error('the store cannot be written: stopping', { reason: error.message });
      process.exit(1);
    },
  });
  const { store } = opened;
  await engine.recover();
  const { hostname, platform, nanoCpus, memoryBytes } = engine.info();
  const description = {
    hostname: flags.nodeName || hostname,
    platform,
    resources: { nanoCpus, memoryBytes },
    engine: { version, labels: {} },
  };
  await bootstrapCluster({ store, clock, random, nodeId, description, addressPools: flags.addressPools });

  const leading = lead({ store, clock, random, logger }, life.signal);
  const control = createControl({ store, clock, random });
  const dispatcher = createDispatcher({ store, clock, random, logger });
  const servers = { rpc: createRpcServer(), local: createLocalServer() };
  const serve = <S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>): void => {
    servers.rpc.add(definition, handlers);
    servers.local.add(definition, handlers);
  };
  serve(controlService, control);
  serve(dispatcherService, dispatcher.handlers);
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
      opened,
      control,
      engine,
      clock,
      startedAt,
      stop: (finish) => {
        cleanUp = finish;
        // The answer to the caller goes out first.
        clock.startTimer(50, () => stopping.resolve());
      },
    }),
  );
  const { socket } = flags;
  const listening = await listenOnSocket(servers, socket);

  const connection = connectLocal(socket);
  const resolver = createResolver({
    clock,
    random,
    networkName: (id) => store.view((tx) => tx.get('network', id)?.spec.name),
    resolvConf: '/etc/resolv.conf',
  });
  const agent = startAgent({
    nodeId,
    describe: () => description,
    dispatcher: connection.service(dispatcherService),
    engine,
    resolver,
    netnsPath: (id) => join(flags.runDir, 'engine', 'netns', id),
    disk: agentDisk(join(flags.stateDir, 'agent.state')),
    clock,
    random,
    logger,
  });
  logger.info('ready', { nodeId, socket, version });
  notifySystemd('READY=1');
  if (flags.readyFd >= 0) {
    writeSync(flags.readyFd, 'ready\n');
    closeSync(flags.readyFd);
  }

  await stopping.promise;
  logger.info('stopping; containers run on');
  notifySystemd('STOPPING=1');
  await agent.close();
  connection.close();
  dispatcher.close();
  life.abort(new Error('stopping'));
  listening.close();
  servers.local.close();
  servers.rpc.close();
  await leading;
  resolver.close();
  await opened.close();
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
