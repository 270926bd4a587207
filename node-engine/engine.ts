import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { arch, cpus, hostname, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../base/async.ts';
import type { Clock } from '../base/clock.ts';
import { TsswarmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { systemRandom } from '../base/random.ts';
import { createBuilder, openBuildCache } from './build/index.ts';
import { createImageStore } from './image/index.ts';
import { createInspection } from './inspection/index.ts';
import { foundFeatures } from './runtime/live/features.ts';
import { LAUNCHER_PROGRAM } from './launcher/index.ts';
import { appendLog, readLog } from './log/index.ts';
import * as native from './native/addon.ts';
import { createNetworks } from './network/index.ts';
import { cgroupMounts, cgroupVersion, createMoveAhead, removeEmptyParent } from './runtime/cgroups.ts';
import { ContainerDisk } from './runtime/container-disk.ts';
import { ContainerService } from './runtime/containers.ts';
import { nativeLauncher } from './runtime/native-launcher.ts';
import { recoverContainers } from './runtime/recovery.ts';
import { openNodeLease } from './runtime/node-lease.ts';
import { SecretFiles } from './runtime/secret-files.ts';
import { CompiledPrograms } from './seccomp/index.ts';
import { createWritableLayers } from './snapshot/index.ts';
import type { LiveFeature } from '../proto/types/index.ts';
import type { InspectableEngine } from './types.ts';
import { isLocalPath, pathExists } from './volume/file-systems.ts';
import { VolumeStore } from './volume/volumes.ts';

export interface EngineOptions {
  /** Survives a reboot: "/var/lib/tsswarm". The engine's part is the folder "engine" below. */
  readonly stateDir: string;
  /** Empty after a reboot: "/run/tsswarm". The engine's part is the folder "engine" below. */
  readonly runDir: string;
  /** Name of the cgroup that holds the containers' ones, in every hierarchy: "tsswarm". */
  readonly cgroupParent: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Path of tsrun, where it is not the one that was built here. */
  readonly launcherPath?: string;
  /** Version that `info` tells. */
  readonly version?: string;
}

const LOCK_PATIENCE_MS = 1_000;
const LOCK_PAUSE_MS = 10;

/**
 * Opens the engine of a node. Nothing runs and nothing is removed before `recover`.
 * @throws IN_USE when another process has it open, CORRUPT, INVALID_INPUT, or a system error when the folders cannot be made
 */
export async function createEngine(options: EngineOptions): Promise<InspectableEngine> {
  const state = join(options.stateDir, 'engine');
  const run = join(options.runDir, 'engine');
  for (const folder of [state, run]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  const unlock = await takeLock(join(state, 'lock'), options.clock);
  if (!unlock) {
    throw new TsswarmError('IN_USE', `opening the engine in "${state}": another process has it open`, {
      hint: 'stop the other daemon, or give this one a state directory of its own',
    });
  }
  try {
    return await openEngine(options, state, run, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * What a daemon was just starting when it was killed shares its lock until it is executed (flock(2), execve(2)): that is waited for.
 * @returns gives it back; undefined: another process has it
 */
async function takeLock(path: string, clock: Clock): Promise<(() => void) | undefined> {
  const deadline = clock.monotonic() + LOCK_PATIENCE_MS;
  for (;;) {
    const unlock = native.lockFile(path);
    if (unlock !== undefined || clock.monotonic() >= deadline) return unlock;
    await sleep(clock, LOCK_PAUSE_MS);
  }
}

async function openEngine(
  options: EngineOptions,
  state: string,
  run: string,
  unlock: () => void,
): Promise<InspectableEngine> {
  const { logger, clock, launcherPath = LAUNCHER_PROGRAM, version = '0.0.0' } = options;
  const cgroupParent = normaliseParent(options.cgroupParent);
  const cgroups = cgroupMounts();
  const images = await createImageStore({
    dir: join(state, 'images'),
    layersDir: join(state, 'layers'),
    logger: logger.child({ component: 'images' }),
    usedBy: (imageId) => containers.usersOf(imageId),
  });
  const layers = await createWritableLayers({
    dir: join(state, 'writable'),
    mountPoints: join(state, 'mount-points'),
    images,
    removeTree: (path) => images.removeTree(path),
  });
  const network = createNetworks({
    netnsDirectory: join(run, 'netns'),
    relayDirectory: join(run, 'relay'),
    instance: instanceOf(options.stateDir),
    logger: logger.child({ component: 'network' }),
  });
  const volumes = new VolumeStore(join(state, 'volumes'), native, clock);
  const parts = {
    disk: new ContainerDisk(join(state, 'containers'), join(run, 'containers')),
    images,
    layers,
    sandboxes: network.sandboxes,
    volumes,
    secrets: new SecretFiles(join(run, 'secrets'), native),
    launcher: nativeLauncher(launcherPath),
    seccomp: new CompiledPrograms(join(run, 'seccomp')),
    logFiles: { read: readLog, append: appendLog },
    launcherPath,
    leasePath: join(run, 'lease'),
    cgroupParent: `/${cgroupParent}`,
    cgroups,
    moveAhead: createMoveAhead(cgroups),
    nodeHostname: hostname(),
    clock,
    logger,
    calls: native,
    containerDirs: [join(state, 'containers'), join(run, 'containers')],
    runDir: join(run, 'containers'),
  };
  const containers = new ContainerService(parts);
  const live = [...LIVE_FEATURES, ...foundFeatures(cgroups, native)];
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    containers.close();
    await network.close();
    await images.close();
    const idle = containers.list().every(({ state: one }) => one !== 'running');
    if (idle) await removeEmptyParent(cgroups, cgroupParent, clock);
    unlock();
  };

  return {
    containers,
    images,
    builder: createBuilder({
      images,
      containers,
      upperOf: (id, imageId) => layers.paths(id, imageId).upper,
      cache: openBuildCache(join(state, 'build-cache.json')),
      clock,
      random: systemRandom,
      architecture: ARCHITECTURES[arch()] ?? arch(),
    }),
    expectStart: parts.moveAhead,
    inspection: createInspection({ containers, launcherPath, cgroups, cgroupParent }),
    networks: network.networks,
    tunnels: network.tunnels,
    volumes,
    lease: openNodeLease(parts.leasePath, native.bootTime),
    isLocalPath,
    pathExists,
    info: () => ({
      version,
      hostname: hostname(),
      platform: { os: 'linux', architecture: ARCHITECTURES[arch()] ?? arch() },
      nanoCpus: cpus().length * 1e9,
      memoryBytes: totalmem(),
      kernel: release(),
      cgroup: cgroupVersion(cgroups),
      live,
    }),
    async recover() {
      await network.tunnels.secure.recover();
      await recoverContainers(parts, containers);
    },
    close: () => (closing ??= close()),
  };
}

/** What any engine can change in running containers; what takes more of the kernel: `foundFeatures`. */
const LIVE_FEATURES: readonly LiveFeature[] = [
  'limits',
  'resources',
  'settings',
  'files',
  'mounts',
  'names',
  'sysctls',
  'networks',
];

/** Go's names, which OCI and Docker use, of Node's architectures. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm64: 'arm64', arm: 'arm' };

/** "tsswarm" of "/tsswarm/"; several levels are allowed. @throws INVALID_INPUT */
function normaliseParent(parent: string): string {
  const parts = parent.split('/').filter((part) => part !== '');
  if (parts.length > 0 && parts.every((part) => /^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$/.test(part))) return parts.join('/');
  throw new TsswarmError(
    'INVALID_INPUT',
    `using the cgroup parent "${parent}": malformed, expected a name such as "tsswarm"`,
  );
}

/** Tells the daemons of one network namespace apart; the same after each restart. */
function instanceOf(stateDir: string): string {
  return createHash('sha256').update(stateDir).digest('hex').slice(0, 8);
}
