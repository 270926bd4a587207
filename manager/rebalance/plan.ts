import type { NodeId } from '../../base/ids.ts';
import type { Node, Service, Task } from '../../proto/types/index.ts';
import { networkServiceOf } from '../model/shared-network.ts';
import { currentOf, isGlobal, isJob, slotsOf } from '../model/slots.ts';
import { isServing } from '../model/task-state.ts';
import { isPaused, isUpdating } from '../model/update.ts';
import { localVolumesOf } from '../model/volumes.ts';
import { matchesConstraint } from '../model/constraints.ts';
import { Scheduler } from '../scheduler/schedule.ts';
import { sharersIn } from '../scheduler/stage.ts';
import type { ReadTransaction } from '../store/types.ts';
import { isWorse, unevenness } from './evenness.ts';

/** A task that shall leave its node. */
export interface Move {
  readonly task: Task;
  readonly from: NodeId;
  /** What the counts ask for; the scheduler decides when the task's turn has come. */
  readonly to: NodeId;
}

/** What would be moved, or why nothing is. */
export type RebalancePlan =
  | { readonly moves: readonly [Move, ...Move[]]; readonly reason?: never }
  | { readonly moves: readonly []; readonly reason: string };

const nothing = (reason: string): RebalancePlan => ({ moves: [], reason });

/**
 * Which tasks of a service to move so that they are as evenly spread as if they were all placed now: as few as that takes, and none
 * whose data would stay behind. The scheduler itself says where they would be placed: what is planned here it does.
 * @param now wall time, ms
 */
export function planRebalance(tx: ReadTransaction, service: Service, now: number): RebalancePlan {
  const tasks = tx.find('task', 'service', service.id);
  const refusal = refusalOf(service, tasks);
  if (refusal !== undefined) return nothing(refusal);
  const nodes = candidates(tx, service);
  const ids = new Set(nodes.map(({ id }) => id));
  // On a node that is paused what runs stays.
  const movable = [...slotsOf(tasks).values()]
    .flatMap((slot) => currentOf(slot, service) ?? [])
    .filter(({ nodeId }) => ids.has(nodeId as NodeId));
  if (nodes.length < 2 || movable.length === 0) return nothing('no other node could take its containers');
  const wanted = placedAnew(tx, service, movable, now);
  if (typeof wanted === 'string') return nothing(wanted);
  const have = new Map<NodeId, number>(nodes.map(({ id }) => [id, 0]));
  for (const { nodeId } of movable) have.set(nodeId as NodeId, (have.get(nodeId as NodeId) ?? 0) + 1);
  const goal = unevenness(wanted, nodes, service);
  const moves: Move[] = [];
  const left = [...movable].sort((a, b) => b.meta.createdAt - a.meta.createdAt);
  const excess = (id: NodeId): number => (have.get(id) ?? 0) - (wanted.get(id) ?? 0);
  while (isWorse(unevenness(have, nodes, service), goal)) {
    const [from, to] = [highest(nodes, excess, have, 1), highest(nodes, (id) => -excess(id), have, -1)];
    const index = left.findIndex(({ nodeId }) => nodeId === from);
    const [task] = index < 0 ? [] : left.splice(index, 1);
    if (from === undefined || to === undefined || task === undefined) break;
    have.set(from, (have.get(from) ?? 0) - 1);
    have.set(to, (have.get(to) ?? 0) + 1);
    moves.push({ task, from, to });
  }
  const [first, ...rest] = moves;
  return first === undefined ? nothing('its containers are evenly spread') : { moves: [first, ...rest] };
}

/** Why a service is left alone; undefined: it need not be. */
function refusalOf(service: Service, tasks: readonly Task[]): string | undefined {
  if (isGlobal(service)) return 'it runs once on each node';
  const shared = networkServiceOf(service.spec.task);
  if (shared !== undefined) return `it shares the network of "${shared}" and goes where that goes`;
  if (isJob(service.spec)) return 'a job is not moved';
  if (service.stopped || service.pendingDelete) return 'it is stopped';
  if (isUpdating(service)) return 'an update of it is under way';
  if (isPaused(service)) return `its update is paused: ${service.updateStatus?.message ?? ''}`;
  const [first] = tasks;
  const volume = first === undefined ? undefined : localVolumesOf(first)[0];
  if (volume !== undefined) return `its volume "${volume}" lies on the node`;
  const bind = service.spec.task.container.mounts.find((mount) => mount.type === 'bind' && !mount.readOnly);
  if (bind !== undefined && bind.type === 'bind') return `it writes "${bind.source}" of the node`;
  const slots = slotsOf(tasks);
  const serving = [...slots.values()].filter((slot) => {
    const current = currentOf(slot, service);
    return current !== undefined && isServing(current) && current.specVersion === service.specVersion;
  }).length;
  if (serving < service.spec.replicas || slots.size > service.spec.replicas)
    return `not all of its containers serve (${serving} of ${service.spec.replicas})`;
  return undefined;
}

const candidates = (tx: ReadTransaction, service: Service): readonly Node[] =>
  tx
    .list('node')
    .filter(
      (node) =>
        node.status.state === 'ready' &&
        node.spec.availability === 'active' &&
        service.spec.task.constraints.every((constraint) => matchesConstraint(constraint, node)),
    );

/** How many tasks each node would get if they were placed now; a sentence when not all would find one. */
function placedAnew(
  tx: ReadTransaction,
  service: Service,
  movable: readonly Task[],
  now: number,
): ReadonlyMap<NodeId, number> | string {
  const leaving = new Set<string>(movable.map(({ id }) => id));
  const waiting = movable.map((task): Task => ({
    ...task,
    nodeId: '',
    predecessor: '',
    status: { ...task.status, state: 'pending', message: '', containerId: '' },
  }));
  const others = tx.list('task').filter(({ id }) => !leaving.has(id));
  const tasks = [...others, ...waiting];
  const { tasks: placed } = new Scheduler().decide(
    {
      nodes: tx.list('node'),
      tasks,
      service: (id) => tx.get('service', id),
      driverOf: (name) => tx.find('network', 'name', name)[0]?.spec.driver,
      volume: (name) => tx.find('volume', 'name', name)[0],
      sharersOf: sharersIn(tx),
      tasksOf: (id) => tasks.filter(({ serviceId }) => serviceId === id),
      servicePorts: () => tx.list('service').flatMap(({ ports }) => ports),
    },
    now,
  );
  const counts = new Map<NodeId, number>();
  for (const task of placed) {
    if (!leaving.has(task.id)) continue;
    if (task.nodeId === '') return `placed anew, not all would find a node: ${task.status.message}`;
    counts.set(task.nodeId, (counts.get(task.nodeId) ?? 0) + 1);
  }
  return counts;
}

/** The node of which `value` is greatest and above 0; among several the one with most (`sign` 1) or fewest (-1) tasks. */
function highest(
  nodes: readonly Node[],
  value: (id: NodeId) => number,
  have: ReadonlyMap<NodeId, number>,
  sign: 1 | -1,
): NodeId | undefined {
  let best: NodeId | undefined;
  for (const { id } of nodes) {
    if (value(id) <= 0) continue;
    const difference = best === undefined ? 1 : value(id) - value(best);
    if (difference > 0 || (difference === 0 && sign * ((have.get(id) ?? 0) - (have.get(best ?? id) ?? 0)) > 0))
      best = id;
  }
  return best;
}
