import { TsswarmError } from '../../../base/errors.ts';
import type { ContainerId } from '../../../base/ids.ts';
import type { Engine, ExitStatus, ImageInfo, ProcessSession } from '../../../node-engine/types.ts';
import { imageConfig } from '../../builders/container-spec.ts';
import type { Life, World } from '../world.ts';
import type { Box, Kernel } from './kernel.ts';

/** How long an engine takes for what, ms, at most. */
const CREATE_MS = 60;
const START_MS = 80;
const REMOVE_MS = 40;
const PATH_MS = 1;
const PULL_MS = 800;
const NETWORK_MS = 15;
const PROBE_MS = 30;
/** After it a slow container is healthy. */
const WARM_UP_MS = 1500;

/**
 * The engine of one life of an agent, on a machine whose containers outlive it. Delays and failures are drawn; what the agent does
 * not use is not there.
 */
export function simulatedEngine(world: World, kernel: Kernel, life: Life): Engine {
  const work = <T>(longest: number, effect: () => T): Promise<T> =>
    kernel.work(life, world.between(longest / 10, longest), effect);
  /** Resolves at the end of a container, if the process lives to see it. */
  const ended = (box: Box, signal?: AbortSignal): Promise<ExitStatus> =>
    new Promise((resolve, reject) => {
      if (box.info.exit !== undefined) return resolve(box.info.exit);
      const tell = (exit: ExitStatus): void => world.enter(life, () => resolve(exit), 9);
      box.waiters.add(tell);
      signal?.addEventListener('abort', () => {
        box.waiters.delete(tell);
        reject(signal.reason as Error);
      });
    });
  const missing = (id: ContainerId): TsswarmError =>
    new TsswarmError('NOT_FOUND', `finding container "${id}": there is none`);

  return {
    containers: {
      create: (request) => work(CREATE_MS, () => kernel.create(request)),
      start: (id) => work(START_MS, () => kernel.start(id)),
      async stop(id, { graceMs }) {
        const box = kernel.boxes.get(id);
        if (box === undefined) throw missing(id);
        if (box.info.state !== 'running') return box.info.exit ?? { code: 0, oomKilled: false, at: 0 };
        const { runs } = box;
        await work(5, () => kernel.signal(id));
        world.after(graceMs, () => box.runs === runs && kernel.end(box, 137), life, 9);
        return ended(box);
      },
      kill: (id) => work(5, () => kernel.kill(id)),
      remove: (id) => work(REMOVE_MS, () => kernel.remove(id)),
      update: (request) => work(CREATE_MS, () => kernel.update(request)),
      leaveNetworks: () => work(NETWORK_MS, () => undefined),
      inspect: (id) => kernel.boxes.get(id)?.info,
      list: () => [...kernel.boxes.values()].map(({ info }) => info),
      wait(id, signal) {
        const box = kernel.boxes.get(id);
        return box === undefined ? Promise.reject(missing(id)) : ended(box, signal);
      },
      exec: (id) => work(PROBE_MS, () => probe(world, kernel, id)),
      attach: unused,
      logs: unused,
      appendLog: unused,
    },
    images: {
      find: (reference) => (kernel.images.has(reference) ? image(reference) : undefined),
      list: () => [...kernel.images].map(image),
      pull: (reference) =>
        work(PULL_MS, () => {
          if (world.chance(kernel.troubles.registry))
            throw new TsswarmError('REGISTRY_UNAVAILABLE', `pulling "${reference}": no answer`);
          if (reference.endsWith('-unpullable'))
            throw new TsswarmError('IMAGE_NOT_FOUND', `pulling "${reference}": no such image`);
          kernel.images.add(reference);
          return image(reference);
        }),
      load: unused,
      tag: unused,
      remove: unused,
    },
    builder: { build: unused },
    networks: {
      ensureBridge: ({ id }) => work(NETWORK_MS, () => void kernel.bridges.add(id)),
      removeBridge: (id) => work(NETWORK_MS, () => void kernel.bridges.delete(id)),
      listBridges: () => work(NETWORK_MS, () => [...kernel.bridges]),
      guardPorts: () => Promise.resolve(),
      setPorts: () => work(NETWORK_MS, () => []),
    },
    volumes: {
      ensure: unused,
      inspect: unused,
      list: unused,
      remove: (name) =>
        work(REMOVE_MS, () => {
          const user = [...kernel.boxes.values()].find(({ volumes }) => volumes.includes(name));
          if (user !== undefined) throw new TsswarmError('IN_USE', `removing volume "${name}": it is used`);
          kernel.copies.delete(name);
        }),
    },
    lease: kernel.lease,
    pathExists: (path) => work(PATH_MS, () => kernel.copies.has(path)),
    info: unused,
    recover: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

const image = (reference: string): ImageInfo => ({
  id: `sha256:${reference}`,
  names: [reference],
  digest: '',
  createdAt: 0,
  sizeBytes: 0,
  architecture: 'amd64',
  config: imageConfig(),
  layers: [],
});

/** A health check that has been executed. */
function probe(world: World, kernel: Kernel, id: ContainerId): ProcessSession {
  const box = kernel.boxes.get(id);
  if (box?.info.state !== 'running')
    throw new TsswarmError('CONTAINER_NOT_RUNNING', `executing in container "${id}": it does not run`);
  const warm = box.nature !== 'slow' || world.now - box.info.startedAt >= WARM_UP_MS;
  const healthy = box.nature !== 'sick' && warm;
  if (!healthy) box.wasSick = true;
  return {
    output: (async function* () {})(),
    write: unused,
    closeStdin: () => undefined,
    resize: () => undefined,
    kill: () => undefined,
    exit: Promise.resolve({ code: healthy ? 0 : 1, oomKilled: false, at: world.now }),
    close: () => undefined,
  };
}

function unused(): never {
  throw new TsswarmError('NOT_SUPPORTED', 'using the simulated engine: no agent does that');
}
