import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { TaskId } from '../../base/ids.ts';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { controlService } from '../../proto/rpc/services.ts';
import type {
  DesiredProject,
  Project,
  ProjectRequest,
  Service,
  ServicesRequest,
  Task,
  WatchProjectEvent,
  WatchTaskEvent,
} from '../../proto/types/index.ts';
import { withoutKeys } from '../ca/cluster.ts';
import { taskLabels } from '../model/names.ts';
import { networkServiceOf, networkTaskAt, sharing } from '../model/shared-network.ts';
import { annotations, expandVolumes } from '../model/templates.ts';
import { isLive } from '../model/task-state.ts';
import type { ReadTransaction, Store, WriteTransaction } from '../store/types.ts';
import { rebalance } from '../rebalance/request.ts';
import { applyProject } from './apply.ts';
import { createFile, listFiles, removeFile } from './files.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { chosen, overrideGrace, removeProject } from './remove.ts';
import { demandProject, listRevisions, revisionToApply } from './revisions.ts';
import { createService, removeService, rollbackService, updateService } from './services.ts';
import { pageOf, taskPages } from './pages.ts';
import { NO_CHANGE, completeEvent, eventOf, isOfService, objectsOf } from './watch.ts';

export interface ControlOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
}

/** The control API: every handler validates, then makes one transaction. */
export type Control = ServiceHandlers<typeof controlService, []>;

/** Makes the handlers of the control service. */
export function createControl({ store, clock, random }: ControlOptions): Control {
  /** A project that is just being taken down is waited for: bringing it up again is what the user wants then. */
  const untilGone = ({ name: project, services }: DesiredProject, signal: AbortSignal): Promise<void> =>
    whenGone(
      store,
      project,
      services.map(({ name }) => name),
      signal,
    );
  return {
    async applyProject(request, signal) {
      await untilGone(request.project, signal);
      return store.update((tx) => applyProject(tx, request, clock.now(), random));
    },
    rebalance: (request) => store.update((tx) => rebalance(tx, request, clock.now())),
    removeProject: (request) => store.update((tx) => removeProject(tx, request, clock.now(), random)),
    getCluster: () => {
      const cluster = store.view((tx) => tx.list('cluster')[0]);
      if (cluster === undefined)
        return Promise.reject(new TsswarmError('NOT_FOUND', 'reading the cluster: there is none'));
      return Promise.resolve({ cluster: withoutKeys(cluster) });
    },
    listNodes: () => Promise.resolve({ nodes: store.view((tx) => tx.list('node')) }),
    listObjects: (request) => Promise.resolve(store.view((tx) => pageOf(objectsOf(tx, request), request))),
    watchProject: (request, signal) => watchProject(store, request, signal),
    stopServices: (request) =>
      onServices(store, request, onlyThose, (tx, service) => {
        if (!service.stopped) tx.update('service', { ...service, stopped: true });
        overrideGrace(tx, service, request.graceOverrideMs);
      }),
    startServices: (request) =>
      // What a service cannot run without is started with it.
      onServices(store, request, withStopped, (tx, service) => {
        const tasks = tx.find('task', 'service', service.id).filter((task) => !task.oneOff);
        const idle = !service.stopped && tasks.length > 0 && !tasks.some(isLive);
        if (service.stopped || idle) {
          tx.update('service', { ...service, stopped: false, restartCount: service.restartCount + (idle ? 1 : 0) });
        }
      }),
    restartServices: (request) => restartServices(store, request),
    async runTask(request, signal) {
      const { apply } = request;
      if (apply !== undefined) await untilGone(apply.project, signal);
      return store.update((tx) => {
        if (apply !== undefined) {
          const wanted = { ...apply, project: withServiceAsItRuns(tx, apply.project, request.service) };
          applyProject(tx, wanted, clock.now(), random);
        }
        const project = demandProject(tx, request.project);
        const service = chosen(tx, project, [request.service])[0];
        if (service === undefined)
          throw new TsswarmError('NOT_FOUND', `running service "${request.service}": no such service`);
        const id = newId<TaskId>(random);
        const name = request.name || `${project.name}-${request.service}-run-${hex(random.bytes(6))}`;
        const task = oneOffTask(id, project, service, { ...request, name }, clock.now());
        tx.create('task', withSharedNetwork(tx, project, task));
        return { taskId: id };
      });
    },
    stopTask: (request) =>
      store.update((tx) => {
        const task = tx.get('task', request.taskId as TaskId);
        if (task === undefined) return {};
        const desiredState = request.remove ? 'remove' : 'shutdown';
        tx.update('task', { ...task, desiredState, graceOverrideMs: request.graceOverrideMs });
        return {};
      }),
    async createService(request, signal) {
      await whenGone(store, '', [request.spec.name], signal);
      return store.update((tx) => createService(tx, request, { clock, random }));
    },
    updateService: (request) => store.update((tx) => updateService(tx, request, { clock, random })),
    rollbackService: (request) => store.update((tx) => rollbackService(tx, request, { clock, random })),
    removeService: (request) =>
      store.update((tx) => {
        removeService(tx, request, { clock, random });
        return {};
      }),
    createFile: (request) => store.update((tx) => createFile(tx, request, clock.now(), random)),
    listFiles: ({ kind }) => Promise.resolve(store.view((tx) => listFiles(tx, kind))),
    removeFile: (request) =>
      store.update((tx) => {
        removeFile(tx, request);
        return {};
      }),
    async createNetwork(request, signal) {
      await whenNetworkGone(store, request.spec.name, signal);
      return store.update((tx) => createNetwork(tx, request, clock.now(), random));
    },
    removeNetwork: (request) =>
      store.update((tx) => {
        removeNetwork(tx, request);
        return {};
      }),
    listRevisions: ({ project, serviceId }) =>
      Promise.resolve(store.view((tx) => listRevisions(tx, project, serviceId))),
    async rollbackProject(request, signal) {
      const plan = (tx: ReadTransaction) => revisionToApply(tx, demandProject(tx, request.project), request.revision);
      const names = store.view(plan).desired.services.map(({ name }) => name);
      await whenGone(store, request.project, names, signal);
      return store.update((tx) => {
        const { desired, number } = plan(tx);
        const apply = {
          project: desired,
          dryRun: request.dryRun,
          removeOrphans: true,
          forceRecreate: [],
          onlyServices: [],
          noRecreate: false,
          noStart: false,
          ...(request.author === undefined ? {} : { author: request.author }),
        };
        return applyProject(tx, apply, clock.now(), random, { rollbackTo: number });
      });
    },
    watchTask: ({ taskId }, signal) => watchTask(store, taskId as TaskId, signal),
  };
}

const onlyThose = (services: readonly Service[]): readonly Service[] => services;

/** The services with all stopped ones that they require, directly or not. */
function withStopped(services: readonly Service[], all: readonly Service[]): readonly Service[] {
  const found = new Set(services);
  for (const { spec } of found) {
    for (const { service: name, required } of spec.dependsOn) {
      const other = all.find((one) => one.spec.composeName === name && !one.pendingDelete);
      if (required && other?.stopped === true) found.add(other);
    }
  }
  return [...found];
}

async function onServices(
  store: Store,
  request: ServicesRequest,
  widen: (services: readonly Service[], all: readonly Service[]) => readonly Service[],
  change: (tx: WriteTransaction, service: Service) => void,
) {
  return store.update((tx) => {
    const project = demandProject(tx, request.project);
    const services = widen(chosen(tx, project, request.services), tx.find('service', 'project', project.id));
    for (const service of services) change(tx, service);
    return { services: services.map(({ spec }) => spec.composeName) };
  });
}

/** Restarts in place; services that asked to follow a dependency (`restart: true`) follow. */
async function restartServices(store: Store, request: ServicesRequest) {
  return store.update((tx) => {
    const project = demandProject(tx, request.project);
    const restarted = new Set(chosen(tx, project, request.services).map(({ spec }) => spec.composeName));
    const all = tx.find('service', 'project', project.id).filter((service) => !service.pendingDelete);
    for (let grown = -1; grown !== restarted.size;) {
      grown = restarted.size;
      for (const { spec } of all) {
        if (spec.dependsOn.some(({ restart, service }) => restart && restarted.has(service)))
          restarted.add(spec.composeName);
      }
    }
    for (const service of all) {
      if (!restarted.has(service.spec.composeName)) continue;
      tx.update('service', { ...service, stopped: false, restartCount: service.restartCount + 1 });
      overrideGrace(tx, service, request.graceOverrideMs);
    }
    return { services: [...restarted] };
  });
}

/** A one-off container of a service changes nothing of what runs of that service. */
function withServiceAsItRuns(tx: ReadTransaction, project: DesiredProject, composeName: string): DesiredProject {
  const known = tx.find('project', 'name', project.name)[0];
  const running = known && tx.find('service', 'project', known.id).find(({ spec }) => spec.composeName === composeName);
  if (running === undefined) return project;
  const services = project.services.map((spec) => (spec.composeName === composeName ? running.spec : spec));
  return { ...project, services };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function oneOffTask(
  id: TaskId,
  project: Project,
  service: Service,
  request: Parameters<Control['runTask']>[0],
  now: number,
): Task {
  const { spec } = request;
  const labels = { ...spec.container.labels, ...taskLabels(service, 0, id, true) };
  const task: Task = {
    id,
    meta: { version: 0, createdAt: now, updatedAt: now },
    serviceId: service.id,
    projectId: project.id,
    slot: 0,
    name: request.name,
    spec: { ...spec, container: { ...spec.container, labels }, restart: { ...spec.restart, condition: 'none' } },
    specVersion: service.specVersion,
    revision: project.revision,
    desiredState: 'running',
    status: {
      state: 'new',
      timestamp: now,
      message: 'created',
      error: '',
      containerId: '',
      pid: 0,
      oomKilled: false,
      health: 'none',
      imageDigest: '',
      restartCount: 0,
    },
    nodeId: '',
    addresses: [],
    oneOff: true,
    autoRemove: request.autoRemove,
    ports: request.ports,
    predecessor: '',
    attempt: 0,
    notBefore: 0,
    restartCount: 0,
    held: false,
    graceOverrideMs: -1,
    ...annotations(service, spec.container),
  };
  return expandVolumes(task, service);
}

/** A container of no slot shares the network of any container of the service that it names. @throws CONTAINER_NOT_RUNNING */
function withSharedNetwork(tx: ReadTransaction, project: Project, task: Task): Task {
  const name = networkServiceOf(task.spec);
  if (name === undefined) return task;
  const service = tx.find('service', 'project', project.id).find(({ spec }) => spec.composeName === name);
  const host = service && networkTaskAt(tx.find('task', 'service', service.id), undefined);
  if (host !== undefined) return { ...task, ...sharing(task, host) };
  throw new TsswarmError(
    'CONTAINER_NOT_RUNNING',
    `running "${task.name}": it shares the network of service "${name}", of which no container runs`,
  );
}

/** Resolves when none of the named services is on its way out. */
function whenGone(store: Store, project: string, names: readonly string[], signal: AbortSignal): Promise<void> {
  return untilFalse(
    store,
    (tx) =>
      names.some((name) =>
        tx.find('service', 'name', name).some((service) => service.pendingDelete && service.projectName === project),
      ),
    signal,
  );
}

/** Resolves when no network of that name is on its way out. */
const whenNetworkGone = (store: Store, name: string, signal: AbortSignal): Promise<void> =>
  untilFalse(store, (tx) => tx.find('network', 'name', name).some(({ pendingDelete }) => pendingDelete), signal);

async function untilFalse(store: Store, isSo: (tx: ReadTransaction) => boolean, signal: AbortSignal): Promise<void> {
  if (!store.view(isSo)) return;
  const { result, watch } = store.viewAndWatch(isSo);
  const stop = (): void => watch.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (!result) return;
    for await (const _ of watch) if (!store.view(isSo)) return;
  } finally {
    signal.removeEventListener('abort', stop);
    watch.close();
  }
}

async function* watchProject(
  store: Store,
  request: ProjectRequest,
  signal: AbortSignal,
): AsyncIterable<WatchProjectEvent> {
  const { project: name, serviceId } = request;
  const { result, watch } = store.viewAndWatch((tx) => completeEvent(tx, request));
  const stop = (): void => watch.close();
  signal.addEventListener('abort', stop, { once: true });
  const known = new Set<string>(result.services.map(({ projectId }) => projectId as string));
  for (const project of store.view((tx) => tx.find('project', 'name', name))) known.add(project.id);
  try {
    const [tasks = [], ...others] = taskPages(result.tasks);
    yield { ...result, tasks };
    for (const more of others) yield { ...NO_CHANGE, version: result.version, tasks: more };
    for await (const commit of watch) {
      for (const change of commit.changes)
        if (change.table === 'project' && change.after?.name === name) known.add(change.after.id);
      const event = eventOf(commit, (change) =>
        serviceId === undefined
          ? name === '' || known.has((change.after ?? change.before)?.projectId ?? '')
          : isOfService(change, serviceId),
      );
      if (event !== undefined) yield event;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    watch.close();
  }
}

async function* watchTask(store: Store, id: TaskId, signal: AbortSignal): AsyncIterable<WatchTaskEvent> {
  const { result, watch } = store.viewAndWatch((tx) => tx.get('task', id));
  const stop = (): void => watch.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (result === undefined) return yield { gone: true };
    yield { task: result, gone: false };
    for await (const { changes } of watch) {
      for (const change of changes) {
        if (change.table !== 'task' || change.id !== id) continue;
        if (change.after === undefined) return yield { gone: true };
        yield { task: change.after, gone: false };
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    watch.close();
  }
}
