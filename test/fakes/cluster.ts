import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { NodeId } from '../../base/ids.ts';
import { createControl } from '../../manager/control/server.ts';
import type { Control } from '../../manager/control/server.ts';
import { createDispatcher } from '../../manager/dispatcher/server.ts';
import type { Dispatcher } from '../../manager/dispatcher/server.ts';
import { lead } from '../../manager/leader.ts';
import { Decisions } from '../../manager/model/stages/decisions.ts';
import { EVERY_FEATURE } from '../../manager/model/spec-change.ts';
import { memoryStore } from '../../manager/store/memory.ts';
import type { Store } from '../../manager/store/types.ts';
import { applyChange, NO_ASSIGNMENTS } from '../../worker/agent/assignments.ts';
import type { Assignments } from '../../worker/agent/assignments.ts';
import { TASK_STATES } from '../../proto/types/index.ts';
import type { ApplyProjectRequest, DesiredProject, Task, TaskStatus } from '../../proto/types/index.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

/** How the fake worker behaves: what becomes of a task that shall run. */
export type Script = (task: Task) => Partial<TaskStatus>;

export interface FakeNode {
  readonly nodeId: NodeId;
  /** It is not heard of again until it has `returned`. */
  vanish(): void;
  returned(): Promise<void>;
}

/** All managers' parts with one scripted worker, under a virtual clock. */
export interface FakeCluster {
  readonly clock: VirtualClock;
  readonly store: Store;
  readonly control: Control;
  readonly node: { readonly assignments: Assignments };
  /** Another worker with the same script. */
  join(hostname: string): Promise<FakeNode>;
  /** Tasks of a service by slot, oldest first, those that are gone left out. */
  tasks(service: string): readonly Task[];
  apply(project: DesiredProject, change?: Partial<ApplyProjectRequest>): ReturnType<Control['applyProject']>;
  /** The worker says something of a task. */
  say(task: Task, status: Partial<TaskStatus>): Promise<void>;
  close(): Promise<void>;
}

/** Starts it; `script` answers for every task that shall run (default: it runs, without a health check), `prepare` for one
 * that shall only get ready; a running container takes `stopMs` to stop. `change` answers for one whose spec was changed while it runs
 * (default: the workers cannot do that). */
export async function fakeCluster(
  script: Script = () => ({ state: 'running', health: 'none' }),
  prepare: Script = () => ({ state: 'ready' }),
  stopMs = 0,
  change?: Script,
): Promise<FakeCluster> {
  const clock = new VirtualClock();
  const store = memoryStore(clock);
  const random = seededRandom(7);
  const logger = silentLogger;
  const life = new AbortController();
  const decisions = new Decisions(clock);
  const control = createControl({ store: decisions.within(store), clock, random });
  const { handlers, leases } = createDispatcher({ store, clock, random, logger, decisions });
  const leading = lead({ store, clock, random, logger, leases, decisions }, life.signal);
  const workers = new Map<string, Worker>();
  const join = async (hostname: string): Promise<Worker> => {
    const worker = await startWorker(hostname, clock, handlers, { script, prepare, stopMs, change }, life.signal);
    workers.set(worker.nodeId, worker);
    return worker;
  };
  const first = await join('one');

  return {
    clock,
    store,
    control,
    node: first,
    join,
    tasks: (service) =>
      store.view((tx) => {
        const found = tx.find('service', 'name', `app_${service}`)[0];
        if (found === undefined) return [];
        return [...tx.find('task', 'service', found.id)].sort((a, b) => a.slot - b.slot);
      }),
    apply: async (project, change = {}) => {
      const request: ApplyProjectRequest = {
        project,
        dryRun: false,
        removeOrphans: false,
        forceRecreate: [],
        onlyServices: [],
        noRecreate: false,
        noStart: false,
        ...change,
      };
      const answer = await control.applyProject(request, life.signal);
      await clock.advance(100);
      return answer;
    },
    say: async (task, status) => {
      await (workers.get(task.nodeId) ?? first).report(task, status);
      await clock.advance(50);
    },
    async close() {
      life.abort(new Error('closed'));
      await settle();
      await clock.advance(10);
      await Promise.all([leading, ...[...workers.values()].map(({ receiving }) => receiving)]);
    },
  };
}

interface Worker extends FakeNode {
  readonly assignments: Assignments;
  readonly receiving: Promise<unknown>;
  report(task: Task, change: Partial<TaskStatus>): Promise<void>;
}

/** A worker that obeys: what it is assigned becomes what the script says. */
async function startWorker(
  hostname: string,
  clock: VirtualClock,
  handlers: Dispatcher['handlers'],
  {
    script,
    prepare,
    stopMs,
    change,
  }: {
    readonly script: Script;
    readonly prepare: Script;
    readonly stopMs: number;
    readonly change: Script | undefined;
  },
  life: AbortSignal,
): Promise<Worker> {
  const nodeId = `node-${hostname}` as NodeId;
  const description = {
    hostname,
    platform: { os: 'linux', architecture: 'amd64' },
    resources: { nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30 },
    engine: { version: '1', labels: {} },
    ...(change === undefined ? {} : { live: [...EVERY_FEATURE] }),
  };
  const statuses = new Map<string, TaskStatus>();
  const wanted = new Map<string, Task>();
  const stopping = new Set<string>();
  const worker = { assignments: NO_ASSIGNMENTS };
  let sessionId = '';
  let present = new AbortController();

  const report = async (task: Task, change: Partial<TaskStatus>): Promise<void> => {
    const status = { ...(statuses.get(task.id) ?? task.status), ...change, timestamp: clock.now() };
    statuses.set(task.id, status);
    await handlers.updateTaskStatus(
      { sessionId, nodeId, updates: [{ taskId: task.id, status }], removedNetworks: [], removedVolumes: [] },
      life,
    );
  };
  const act = async (task: Task): Promise<void> => {
    const status = statuses.get(task.id) ?? task.status;
    const over = TASK_STATES[status.state] >= TASK_STATES.complete;
    if (task.desiredState === 'remove' || task.desiredState === 'shutdown') {
      if (!over && status.state === 'running' && stopMs > 0) {
        if (stopping.has(task.id)) return;
        stopping.add(task.id);
        clock.startTimer(stopMs, () => {
          const ended = statuses.get(task.id)?.state === 'running' ? report(task, { state: 'shutdown' }) : undefined;
          void Promise.resolve(ended).then(() => act(wanted.get(task.id) ?? task));
        });
      } else if (task.desiredState === 'remove' ? status.state !== 'remove' : !over) {
        await report(task, { state: task.desiredState });
      }
    } else if (task.desiredState === 'ready') {
      if (TASK_STATES[status.state] < TASK_STATES.ready) await report(task, prepare(task));
    } else if (task.notBefore > clock.now()) {
      clock.startTimer(task.notBefore - clock.now(), () => void act(task));
    } else if (TASK_STATES[status.state] < TASK_STATES.running) {
      const how = task.instead === undefined ? 'started' : 'replaced';
      const applied = { specVersion: task.specVersion, how, reason: task.instead ?? '' } as const;
      await report(task, { restartCount: task.restartCount, applied, ...script(task) });
    } else if (!over && change !== undefined && status.applied?.specVersion !== task.specVersion) {
      if (status.refused?.specVersion !== task.specVersion) await report(task, change(task));
    } else if (!over && task.restartCount > status.restartCount) {
      await report(task, { restartCount: task.restartCount });
    }
  };
  const receive = async (signal: AbortSignal): Promise<void> => {
    for await (const change of handlers.assignments({ sessionId, nodeId }, signal)) {
      worker.assignments = applyChange(worker.assignments, change);
      for (const task of change.update.tasks) wanted.set(task.id, task);
      for (const task of change.update.tasks) await act(task);
      const removedNetworks = change.update.networks
        .filter((network) => network.pendingDelete)
        .map(({ spec }) => spec.name);
      const removedVolumes = change.update.volumes.map(({ spec }) => spec.name);
      if (removedNetworks.length + removedVolumes.length > 0) {
        await handlers.updateTaskStatus({ sessionId, nodeId, updates: [], removedNetworks, removedVolumes }, signal);
      }
    }
  };
  let receiving: Promise<unknown> = Promise.resolve();
  const register = async (): Promise<void> => {
    present = new AbortController();
    const signal = AbortSignal.any([life, present.signal]);
    const session = handlers.session({ nodeId, description }, signal)[Symbol.asyncIterator]();
    const first = await session.next();
    if (first.done === true) throw new Error('no session');
    void session.next().catch(() => undefined);
    sessionId = first.value.sessionId;
    const { heartbeatMs } = first.value;
    const beat = (): void => {
      if (signal.aborted) return;
      void handlers.heartbeat({ sessionId, nodeId }, signal).catch(() => undefined);
      clock.startTimer(heartbeatMs, beat);
    };
    beat();
    receiving = receive(signal).catch(() => undefined);
  };
  await register();
  return {
    nodeId,
    get receiving() {
      return receiving;
    },
    report,
    get assignments() {
      return worker.assignments;
    },
    vanish: () => present.abort(new Error('gone')),
    returned: register,
  };
}
