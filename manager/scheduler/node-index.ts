import type { Node, Task } from '../../proto/types/index.ts';
import { isFinal, isLive, reached } from '../model/task-state.ts';
import { demandKey } from './demand.ts';
import type { Demand } from './demand.ts';
import { STANDING, applying, passesAll } from './filters.ts';
import { NodeEntry } from './node-entry.ts';
import { localVolumesOf, madeItsVolumes } from './volumes.ts';

/** Lists of nodes by constraints are kept for this many different ones. */
const MAX_ELIGIBLE_LISTS = 1000;

/** Tasks that wait for a node and ask for the same. */
export interface WaitingGroup {
  readonly tasks: Map<string, Task>;
  /** {@link NodeIndex.freed} when nothing was found for them and all of them said why; -1: they are to be looked at. */
  settledAt: number;
}

/**
 * What the scheduler knows of nodes and tasks, kept up to date change by change: a look costs what has changed, not what is
 * there.
 */
export class NodeIndex {
  readonly #entries = new Map<string, NodeEntry>();
  readonly #tasks = new Map<string, Task>();
  readonly #waiting = new Map<string, WaitingGroup>();
  /** How many tasks brought a volume to a node, by volume. */
  readonly #volumes = new Map<string, Map<string, number>>();
  readonly #eligible = new Map<string, readonly NodeEntry[]>();
  #order = 0;
  #freed = 0;

  /** Rises whenever a task may fit that did not before. */
  get freed(): number {
    return this.#freed;
  }

  get entries(): ReadonlyMap<string, NodeEntry> {
    return this.#entries;
  }

  get waiting(): ReadonlyMap<string, WaitingGroup> {
    return this.#waiting;
  }

  /** Nodes that hold a volume, with the number of tasks that say so. */
  get volumes(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#volumes;
  }

  task(id: string): Task | undefined {
    return this.#tasks.get(id);
  }

  putNode(node: Node): void {
    this.#changed();
    const known = this.#entries.get(node.id);
    if (known !== undefined) {
      known.node = node;
      return;
    }
    const entry = new NodeEntry(node, this.#order++);
    this.#entries.set(node.id, entry);
    for (const task of this.#tasks.values()) if (task.nodeId === node.id && occupies(task)) entry.add(task);
  }

  removeNode(id: string): void {
    this.#changed();
    this.#entries.delete(id);
  }

  /** Takes over a new task, or a task's new form. */
  putTask(task: Task): void {
    const freed = this.#freed;
    const before = this.#tasks.get(task.id);
    this.removeTask(task.id);
    // It goes on where it is: nobody else gets more room by that.
    if (before !== undefined && holdsTheSame(before, task)) this.#freed = freed;
    this.#tasks.set(task.id, task);
    if (occupies(task)) this.#entries.get(task.nodeId)?.add(task);
    if (holdsVolumes(task)) for (const name of localVolumesOf(task)) this.#countVolume(name, task.nodeId, 1);
    if (!waits(task)) return;
    const key = demandKey(task);
    const group = this.#waiting.get(key);
    if (group === undefined) this.#waiting.set(key, { tasks: new Map([[task.id, task]]), settledAt: -1 });
    else {
      group.tasks.set(task.id, task);
      group.settledAt = -1;
    }
  }

  removeTask(id: string): void {
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    this.#tasks.delete(id);
    if (occupies(task)) {
      this.#entries.get(task.nodeId)?.subtract(task);
      this.#freed++;
    }
    if (holdsVolumes(task)) for (const name of localVolumesOf(task)) this.#countVolume(name, task.nodeId, -1);
    if (!waits(task)) return;
    const key = demandKey(task);
    const group = this.#waiting.get(key);
    group?.tasks.delete(id);
    if (group?.tasks.size === 0) this.#waiting.delete(key);
  }

  /** Nodes that take tasks and match the demand's constraints, oldest first. */
  eligible(demand: Demand): readonly NodeEntry[] {
    const known = this.#eligible.get(demand.testsKey);
    if (known !== undefined) return known;
    const filters = applying(STANDING, demand);
    const found = [...this.#entries.values()].filter((entry) => passesAll(filters, demand, entry));
    if (this.#eligible.size >= MAX_ELIGIBLE_LISTS) this.#eligible.clear();
    this.#eligible.set(demand.testsKey, found);
    return found;
  }

  #changed(): void {
    this.#freed++;
    this.#eligible.clear();
  }

  #countVolume(name: string, nodeId: string, by: 1 | -1): void {
    const nodes = this.#volumes.get(name) ?? new Map<string, number>();
    const count = (nodes.get(nodeId) ?? 0) + by;
    if (count > 0) nodes.set(nodeId, count);
    else nodes.delete(nodeId);
    if (nodes.size > 0) this.#volumes.set(name, nodes);
    else this.#volumes.delete(name);
  }
}

/** Its reservations and ports are held on its node. */
const occupies = (task: Task): boolean =>
  task.nodeId !== '' && reached(task.status.state, 'assigned') && !isFinal(task);

const holdsTheSame = (before: Task, after: Task): boolean =>
  occupies(after) &&
  before.nodeId === after.nodeId &&
  isLive(before) === isLive(after) &&
  before.spec.reservations === after.spec.reservations &&
  before.ports.length === after.ports.length;

/** Its volumes are on its node, or will be in a moment. */
const holdsVolumes = (task: Task): boolean => occupies(task) || madeItsVolumes(task);

const waits = (task: Task): boolean =>
  task.status.state === 'pending' && task.nodeId === '' && task.desiredState !== 'remove';
