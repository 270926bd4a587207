import { Scheduler } from '../../manager/scheduler/schedule.ts';
import type { SchedulerView } from '../../manager/scheduler/schedule.ts';
import type { Task } from '../../proto/types/index.ts';
import type { Load } from './cases.ts';

const ONE_MORE_ROUNDS = 500;

export interface Result {
  readonly totalMs: number;
  /** Microseconds, of a look that finds one more task: everything that the scheduler does then. */
  readonly oneMore: { readonly median: number; readonly p99: number };
  /** What the scheduler keeps. */
  readonly heapBytes: number;
  /** The greatest difference between two groups of nodes, of one service. */
  readonly unevenness: number;
}

/** Places the load, then single tasks, and checks that no rule was broken. */
export async function measure(load: Load): Promise<Result> {
  const services = new Map(load.services.map((service) => [service.id, service]));
  const view = (tasks: readonly Task[]): SchedulerView => ({
    nodes: load.nodes,
    tasks,
    service: (id) => services.get(id),
    volume: () => undefined,
    driverOf: () => undefined,
    sharersOf: () => [],
    servicePorts: () => [],
    tasksOf: () => [],
  });
  await collect();
  const begin = performance.now();
  const decided = new Scheduler().decide(view(load.tasks), 1).tasks;
  const totalMs = performance.now() - begin;
  // As the store has it once it is written.
  let stored: readonly Task[] = freshList(load.tasks, decided);
  await collect();
  const heapBefore = process.memoryUsage().heapUsed;
  const scheduler = new Scheduler();
  if (scheduler.decide(view(stored), 1).tasks.length > 0) throw new Error('a second look found something to do');
  await collect();
  const heapBytes = process.memoryUsage().heapUsed - heapBefore;

  const took: number[] = [];
  for (let i = 0; i < ONE_MORE_ROUNDS; i++) {
    const waiting = [...stored, load.oneMore(i)];
    const start = performance.now();
    const [placed] = scheduler.decide(view(waiting), 1).tasks;
    took.push((performance.now() - start) * 1000);
    if (placed?.status.state !== 'assigned') throw new Error(`one more task: ${placed?.status.message ?? 'nothing'}`);
    stored = [...stored, Object.freeze({ ...placed })];
    scheduler.decide(view(stored), 1);
  }
  took.sort((a, b) => a - b);
  check(load, stored);
  return {
    totalMs,
    oneMore: { median: took[took.length >> 1] ?? 0, p99: took[Math.floor(took.length * 0.99)] ?? 0 },
    heapBytes,
    unevenness: unevenness(load, stored),
  };
}

function freshList(tasks: readonly Task[], decided: readonly Task[]): readonly Task[] {
  const byId = new Map(decided.map((task) => [task.id, task]));
  return tasks.map((task) => Object.freeze({ ...(byId.get(task.id) ?? task) }));
}

function check({ nodes, services }: Load, tasks: readonly Task[]): void {
  const sums = new Map(
    nodes.map(({ id }) => [id as string, { nanoCpus: 0, memoryBytes: 0, of: new Map<string, number>() }]),
  );
  const most = services[0]?.spec.task.placement?.maxReplicasPerNode ?? 0;
  for (const task of tasks) {
    const sum = sums.get(task.nodeId);
    if (sum === undefined) throw new Error(`task "${task.id}" has no node: ${task.status.message}`);
    sum.nanoCpus += task.spec.reservations.nanoCpus ?? 0;
    sum.memoryBytes += task.spec.reservations.memoryBytes ?? 0;
    const count = (sum.of.get(task.serviceId) ?? 0) + 1;
    sum.of.set(task.serviceId, count);
    if (most > 0 && count > most) throw new Error(`node "${task.nodeId}" has ${count} replicas of one service`);
  }
  for (const { id, description } of nodes) {
    const sum = sums.get(id);
    if (sum === undefined) continue;
    if (sum.nanoCpus > description.resources.nanoCpus || sum.memoryBytes > description.resources.memoryBytes)
      throw new Error(`node "${id}" is overcommitted`);
  }
}

function unevenness({ nodes, services, groupOf }: Load, tasks: readonly Task[]): number {
  const groups = new Map(nodes.map((node) => [node.id as string, groupOf(node)]));
  const all = new Set(groups.values());
  const counts = new Map(
    services.map(({ id }) => [id as string, new Map<string, number>([...all].map((group) => [group, 0]))]),
  );
  for (const task of tasks) {
    const of = counts.get(task.serviceId);
    const group = groups.get(task.nodeId) ?? '';
    of?.set(group, (of.get(group) ?? 0) + 1);
  }
  let worst = 0;
  for (const of of counts.values()) {
    let [least, greatest] = [Infinity, 0];
    for (const count of of.values()) [least, greatest] = [Math.min(least, count), Math.max(greatest, count)];
    worst = Math.max(worst, greatest - least);
  }
  return worst;
}

/** Garbage is not memory. Needs --expose-gc, with which the script is started. */
async function collect(): Promise<void> {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error('measuring memory: start with --expose-gc (npm run bench:scheduler does)');
  await new Promise((resolve) => setImmediate(resolve));
  gc();
}
