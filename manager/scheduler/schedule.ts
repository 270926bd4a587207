import type { NodeId } from '../../base/ids.ts';
import type { Node, Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { NodeLoad } from './filters.ts';
import { FILTERS } from './filters.ts';

interface MutableLoad extends NodeLoad {
  nanoCpus: number;
  memoryBytes: number;
  tasks: number;
  readonly tasksByService: Map<string, number>;
  readonly hostPorts: Set<string>;
}

/**
 * Places every pending task: of the nodes that pass all filters the one with the fewest tasks of the service, then the
 * fewest tasks. A task in a slot that ran on a node before goes back there when its predecessor's data is there. A task
 * that fits nowhere says why.
 * @returns the tasks that changed
 */
export function schedule(nodes: readonly Node[], tasks: readonly Task[], now: number): readonly Task[] {
  const waiting = tasks.filter(
    (task) => task.status.state === 'pending' && task.nodeId === '' && task.desiredState !== 'remove',
  );
  if (waiting.length === 0) return [];
  const loads = loadsOf(nodes, tasks);
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const changed: Task[] = [];
  for (const task of waiting) {
    const fitting = loads.filter((load) =>
      FILTERS.every((filter) => !filter.applies(task) || filter.passes(task, load)),
    );
    const best = choose(task, fitting, task.predecessor === '' ? undefined : byId.get(task.predecessor)?.nodeId);
    if (best === undefined) {
      const message = explain(task, loads);
      if (message !== task.status.message)
        changed.push({ ...task, status: { ...task.status, message, timestamp: now } });
      continue;
    }
    add(best, task);
    const status = { ...task.status, state: 'assigned' as const, message: 'assigned', timestamp: now };
    changed.push({ ...task, nodeId: best.node.id, status });
  }
  return changed;
}

function choose(task: Task, fitting: readonly MutableLoad[], home: NodeId | '' | undefined): MutableLoad | undefined {
  const back = fitting.find((load) => load.node.id === home);
  if (back !== undefined) return back;
  let best: MutableLoad | undefined;
  for (const load of fitting) {
    if (best === undefined || isLighter(load, best, task.serviceId)) best = load;
  }
  return best;
}

function isLighter(a: MutableLoad, b: MutableLoad, serviceId: string): boolean {
  const ofService = (a.tasksByService.get(serviceId) ?? 0) - (b.tasksByService.get(serviceId) ?? 0);
  return ofService !== 0 ? ofService < 0 : a.tasks < b.tasks;
}

/** "no suitable node: 2 of 3 nodes lacking …; 1 of 3 nodes not ready", the commonest reason first. */
function explain(task: Task, loads: readonly NodeLoad[]): string {
  if (loads.length === 0) return 'no suitable node: the cluster has no node';
  const counts = new Map<string, number>();
  for (const load of loads) {
    const filter = FILTERS.find((candidate) => candidate.applies(task) && !candidate.passes(task, load));
    if (filter === undefined) continue;
    const reason = filter.reason(task);
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const parts = [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([reason, count]) => `${count} of ${loads.length} nodes ${reason}`);
  return `no suitable node: ${parts.join('; ')}`;
}

function loadsOf(nodes: readonly Node[], tasks: readonly Task[]): MutableLoad[] {
  const loads = new Map<string, MutableLoad>();
  for (const node of nodes) {
    loads.set(node.id, {
      node,
      nanoCpus: 0,
      memoryBytes: 0,
      tasks: 0,
      tasksByService: new Map(),
      hostPorts: new Set(),
    });
  }
  for (const task of tasks) {
    const load = loads.get(task.nodeId);
    if (load !== undefined && !isFinal(task)) add(load, task);
  }
  return [...loads.values()];
}

function add(load: MutableLoad, task: Task): void {
  load.nanoCpus += task.spec.reservations.nanoCpus ?? 0;
  load.memoryBytes += task.spec.reservations.memoryBytes ?? 0;
  load.tasks++;
  load.tasksByService.set(task.serviceId, (load.tasksByService.get(task.serviceId) ?? 0) + 1);
  for (const port of task.ports) load.hostPorts.add(`${port.protocol}/${port.published}`);
}
