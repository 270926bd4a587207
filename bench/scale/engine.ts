import type { ContainerId } from '../../base/ids.ts';
import type { Clock } from '../../base/clock.ts';
import type { ContainerInfo, ContainerCreate, Engine, ExitStatus, ImageInfo } from '../../node-engine/types.ts';

const IMAGE: Pick<ImageInfo, 'id' | 'names' | 'digest' | 'createdAt'> = {
  id: 'sha256:0',
  names: [],
  digest: '',
  createdAt: 0,
};

interface Entry {
  info: ContainerInfo;
  readonly exited: PromiseWithResolvers<ExitStatus>;
}

/** How often containers were started and stopped, over all engines. */
export const engineCounts = { started: 0, stopped: 0 };

/** An engine without a kernel: containers are entries of a map, which run at once and end when they are told to. */
export function fakeEngine(clock: Pick<Clock, 'now'>): Engine {
  const entries = new Map<ContainerId, Entry>();
  const demand = (id: ContainerId): Entry => {
    const entry = entries.get(id);
    if (entry === undefined) throw new Error(`no container "${id}"`);
    return entry;
  };
  const end = (entry: Entry): ExitStatus => {
    const exit = { code: 143, oomKilled: false, at: clock.now() };
    if (entry.info.state !== 'running') return entry.info.exit ?? exit;
    engineCounts.stopped++;
    entry.info = { ...entry.info, state: 'exited', exit, finishedAt: exit.at };
    entry.exited.resolve(exit);
    return exit;
  };
  const containers: Pick<
    Engine['containers'],
    'create' | 'start' | 'stop' | 'kill' | 'remove' | 'leaveNetworks' | 'inspect' | 'list' | 'wait'
  > = {
    create: ({ id, name, labels }: ContainerCreate) => {
      const info = { id, name, labels, state: 'created', createdAt: clock.now(), argv: [] } as unknown as ContainerInfo;
      entries.set(id, { info, exited: Promise.withResolvers() });
      return Promise.resolve(info);
    },
    start: (id) => {
      const entry = demand(id);
      engineCounts.started++;
      entry.info = { ...entry.info, state: 'running', startedAt: clock.now(), pid: 1 };
      return Promise.resolve(entry.info);
    },
    stop: (id) => Promise.resolve(end(demand(id))),
    kill: (id) => Promise.resolve(void end(demand(id))),
    remove: (id) => {
      const entry = entries.get(id);
      if (entry !== undefined) end(entry);
      entries.delete(id);
      return Promise.resolve();
    },
    leaveNetworks: () => Promise.resolve(),
    inspect: (id) => entries.get(id)?.info,
    list: () => [...entries.values()].map(({ info }) => info),
    wait: (id) => demand(id).exited.promise,
  };
  const engine: Partial<Omit<Engine, 'containers' | 'images' | 'networks' | 'volumes'>> = {};
  return {
    ...engine,
    containers,
    images: { find: () => IMAGE, list: () => [IMAGE] },
    networks: {
      ensureBridge: () => Promise.resolve(),
      removeBridge: () => Promise.resolve(),
      listBridges: () => Promise.resolve([]),
      setPorts: () => Promise.resolve([]),
    },
    volumes: { remove: () => Promise.resolve() },
  } as unknown as Engine;
}
