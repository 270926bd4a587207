import type { Clock } from '../../base/clock.ts';
import type { NodeId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { createControl } from '../../manager/control/server.ts';
import { leaderStages } from '../../manager/leader.ts';
import { reached } from '../../manager/model/task-state.ts';
import { runStages } from '../../manager/model/stages/loop.ts';
import type { ReadTransaction, ResumableStore } from '../../manager/store/types.ts';
import type { Node, Task, TaskState } from '../../proto/types/index.ts';
import { containerSpec } from '../builders/container-spec.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import type { Cluster, Member } from './cluster.ts';
import { Stored } from './stored.ts';
import { slowClock } from './world.ts';
import type { World } from './world.ts';

/** Machines that run tasks; nobody takes them away. */
export const WORKERS = ['w1', 'w2'] as const;
const WORKER_IDS: ReadonlySet<string> = new Set(WORKERS);

/**
 * A service whose replicas and image change all the time, on the product's orchestrator, allocator and scheduler, which run
 * wherever leadership is; and workers that do what the tasks say.
 */
export class Workload {
  readonly #world: World;
  readonly #cluster: Cluster;
  /** Containers that run, and those that have ended, by task. */
  readonly #running = new Set<string>();
  readonly #ended = new Set<string>();
  #revision = 0;

  constructor(world: World, cluster: Cluster) {
    this.#world = world;
    this.#cluster = cluster;
  }

  /** Nodes that the founders of the cluster write down. */
  nodes(template: Node): readonly Node[] {
    return WORKERS.map((id) => ({ ...template, id: id as NodeId, spec: { ...template.spec, role: 'worker' } }));
  }

  /** What a leader does until `signal` aborts. */
  lead(store: ResumableStore, clock: Clock, signal: AbortSignal): void {
    const wall = slowClock(this.#world, clock);
    const stages = leaderStages(wall, this.#world.random);
    void runStages({ store, clock: wall, logger: silentLogger, stages }, signal);
  }

  /** Changes the service until `end`, and runs the workers for ever. */
  run(end: number): void {
    void this.#change(end);
    void this.#work();
  }

  /** Whether exactly what the service says runs, each task once. */
  settled(): boolean {
    const { store } = this.#leader();
    return store?.view((tx) => this.#difference(tx)) === '';
  }

  describe(): string {
    const { store } = this.#leader();
    return store?.view((tx) => `${this.#difference(tx)}\n${tasksOf(tx).map(textOf).join('\n')}`) ?? 'nobody leads';
  }

  #difference(tx: ReadTransaction): string {
    const [service] = tx.list('service');
    const tasks = tasksOf(tx);
    const current = tasks.filter(
      (task) =>
        task.desiredState === 'running' && task.specVersion === service?.specVersion && this.#running.has(task.id),
    );
    const slots = current.map(({ slot }) => slot).sort((a, b) => a - b);
    const wanted = Array.from({ length: service?.spec.replicas ?? 0 }, (_, i) => i + 1);
    if (slots.join() !== wanted.join()) return `slots ${slots.join()} run, and ${wanted.join()} should`;
    const others = [...this.#running].filter((id) => !current.some((task) => task.id === id));
    return others.length === 0 ? '' : `${others.join()} run and should not`;
  }

  #leader(): { leader: Member | undefined; store: ResumableStore | undefined } {
    const leader = this.#cluster.leader();
    return { leader, store: leader?.contents instanceof Stored ? leader.contents.store : undefined };
  }

  async #change(end: number): Promise<void> {
    const world = this.#world;
    while (world.violation === undefined && world.now < end) {
      await world.sleep(world.between(100, 1500));
      const { leader, store } = this.#leader();
      if (leader === undefined || store === undefined) continue;
      const clock = slowClock(world, world.clock(leader.life, 1));
      const control = createControl({ store, clock, random: world.random });
      if (world.chance(0.3)) this.#revision++;
      const container = containerSpec({ image: `busybox:${this.#revision}` });
      const spec = serviceSpec('web', {
        replicas: world.integer(0, 4),
        task: taskSpec({ container, restart: RESTART }),
      });
      const request = { ...APPLY, project: project([spec]) };
      const { signal } = new AbortController();
      world.enter(leader.life, () => {
        control.applyProject(request, signal).then(
          () => void this.#cluster.coverage.rollouts++,
          () => undefined,
        );
      });
    }
  }

  async #work(): Promise<void> {
    const world = this.#world;
    while (world.violation === undefined) {
      await world.sleep(world.between(10, 100));
      const { leader, store } = this.#leader();
      if (leader === undefined || store === undefined || !leader.life.alive) continue;
      const tasks = store.view((tx) => {
        this.#check(tx);
        return tasksOf(tx).filter(({ nodeId }) => WORKER_IDS.has(nodeId));
      });
      for (const task of tasks) {
        const state = this.#act(task);
        if (state === undefined) continue;
        // A report that is lost is given again.
        world.enter(leader.life, () => void report(store, task, state).catch(() => undefined));
      }
    }
  }

  /** What a worker does with a task, and what it has to say of it. */
  #act({ id, desiredState, status }: Task): TaskState | undefined {
    const says = (state: TaskState): TaskState | undefined => (status.state === state ? undefined : state);
    if (desiredState === 'remove' || desiredState === 'shutdown') {
      this.#running.delete(id);
      this.#ended.add(id);
      if (desiredState === 'remove') return says('remove');
      return reached(status.state, 'complete') ? undefined : 'shutdown';
    }
    if (this.#ended.has(id)) return reached(status.state, 'complete') ? undefined : 'failed';
    if (desiredState === 'ready') return reached(status.state, 'ready') ? undefined : 'ready';
    if (this.#running.has(id) && this.#world.chance(0.01) && this.#cluster.profile.failWrite > 0) {
      this.#running.delete(id);
      this.#ended.add(id);
      return 'failed';
    }
    if (!this.#running.has(id)) this.#cluster.coverage.containers++;
    this.#running.add(id);
    return reached(status.state, 'running') ? undefined : 'running';
  }

  /** A slot has one task at most that is to run and runs: the old one ends first. */
  #check(tx: ReadTransaction): void {
    const serving = tasksOf(tx).filter(
      ({ desiredState, status }) => desiredState === 'running' && status.state === 'running',
    );
    const slots = serving.map(({ slot }) => slot);
    const twice = serving.filter(({ slot }, at) => slots.indexOf(slot) !== at);
    if (twice.length > 0) this.#world.fail(`orchestrator: a slot runs twice\n${serving.map(textOf).join('\n')}`);
  }
}

const RESTART = { condition: 'any', delayMs: 0, maxDelayMs: 100, maxAttempts: 0, windowMs: 0 } as const;
const APPLY = {
  dryRun: false,
  removeOrphans: false,
  forceRecreate: [],
  onlyServices: [],
  noRecreate: false,
  noStart: false,
};

const tasksOf = (tx: ReadTransaction): readonly Task[] => tx.list('task');

const textOf = ({ id, slot, nodeId, desiredState, status, specVersion }: Task): string =>
  `  slot ${slot} ${id.slice(0, 6)} on "${nodeId}" of spec ${specVersion} is ${status.state}, shall be ${desiredState}`;

/** As the dispatcher takes what a worker says: states go forward only. */
function report(store: ResumableStore, { id }: Task, state: TaskState): Promise<void> {
  return store.update((tx) => {
    const task = tx.get('task', id);
    if (task === undefined || reached(task.status.state, state)) return;
    tx.update('task', { ...task, status: { ...task.status, state } });
  });
}
