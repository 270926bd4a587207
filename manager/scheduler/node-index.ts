import type { Node, Task } from '../../proto/types/index.ts';
import { isFinal, isLive, reached } from '../model/task-state.ts';
import { demandKey } from './demand.ts';
import type { Demand } from './demand.ts';
import { STANDING, applying, passesAll } from './filters.ts';
import { NodeEntry, increase, isReplica, peersKey } from './node-entry.ts';
import { branchesOf } from './spread.ts';
import type { Branches, Peers } from './spread.ts';
import { madeItsVolumes, placesOf } from '../model/volumes.ts';

/** Lists of nodes are kept for this many different constraints and preferences. */
const MAX_KEPT_LISTS = 1000;

const NO_PEERS: Peers = new Map();

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
  /** How many tasks brought a volume to a node, or have a path of it mounted, by volume or path. */
  readonly #volumes = new Map<string, Map<string, number>>();
  readonly #peers = new Map<string, Map<NodeEntry, number>>();
  readonly #eligible = new Map<string, readonly NodeEntry[]>();
  readonly #branches = new Map<string, Branches>();
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

  /** Nodes that hold a volume or path, with the number of tasks that say so. */
  get volumes(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#volumes;
  }

  task(id: string): Task | undefined {
    return this.#tasks.get(id);
  }

  putNode(node: Node): void {
    const known = this.#entries.get(node.id);
    if (known !== undefined) {
      // Images and leases decide nothing but which of several: no task fits that did not, and all lists stay.
      if (!offersTheSame(known.node, node)) this.#changed();
      known.node = node;
      return;
    }
    this.#changed();
    const entry = new NodeEntry(node, this.#order++);
    this.#entries.set(node.id, entry);
    for (const task of this.#tasks.values()) if (task.nodeId === node.id && occupies(task)) this.#count(entry, task, 1);
  }

  removeNode(id: string): void {
    this.#changed();
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    for (const peers of this.#peers.values()) peers.delete(entry);
  }

  /** Takes over a new task, or a task's new form. */
  putTask(task: Task): void {
    const freed = this.#freed;
    const before = this.#tasks.get(task.id);
    this.removeTask(task.id);
    // It goes on where it is: nobody else gets more room by that.
    if (before !== undefined && holdsTheSame(before, task)) this.#freed = freed;
    this.#tasks.set(task.id, task);
    if (occupies(task)) this.#count(this.#entries.get(task.nodeId), task, 1);
    if (holdsVolumes(task)) for (const name of placesOf(task)) this.#countVolume(name, task.nodeId, 1);
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
      this.#count(this.#entries.get(task.nodeId), task, -1);
      this.#freed++;
    }
    if (holdsVolumes(task)) for (const name of placesOf(task)) this.#countVolume(name, task.nodeId, -1);
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
    if (this.#eligible.size >= MAX_KEPT_LISTS) this.#eligible.clear();
    this.#eligible.set(demand.testsKey, found);
    return found;
  }

  /** Tasks of the same kind, by node. */
  peersOf(key: string): Peers {
    return this.#peers.get(key) ?? NO_PEERS;
  }

  /** All nodes by what the demand is spread over. */
  branches({ spread }: Demand): Branches {
    const key = spread.map(({ of, label }) => `${of}/${label}`).join('\n');
    const known = this.#branches.get(key);
    if (known !== undefined) return known;
    if (this.#branches.size >= MAX_KEPT_LISTS) this.#branches.clear();
    const made = branchesOf(this.#entries.values(), spread);
    this.#branches.set(key, made);
    return made;
  }

  #changed(): void {
    this.#freed++;
    this.#eligible.clear();
    this.#branches.clear();
  }

  #count(entry: NodeEntry | undefined, task: Task, by: 1 | -1): void {
    if (entry === undefined) return;
    if (by === 1) entry.add(task);
    else entry.subtract(task);
    if (!isReplica(task)) return;
    const key = peersKey(task);
    const peers = this.#peers.get(key) ?? new Map<NodeEntry, number>();
    increase(peers, entry, by);
    if (peers.size > 0) this.#peers.set(key, peers);
    else this.#peers.delete(key);
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

/** Nothing that filters and preferences go by is another. */
const offersTheSame = (before: Node, after: Node): boolean =>
  before.spec === after.spec &&
  before.description === after.description &&
  before.status.state === after.status.state &&
  before.status.address === after.status.address;

const holdsTheSame = (before: Task, after: Task): boolean =>
  occupies(after) &&
  before.nodeId === after.nodeId &&
  isLive(before) === isLive(after) &&
  before.spec.reservations === after.spec.reservations &&
  before.ports.length === after.ports.length;

/** Its volumes are on its node, or will be in a moment. */
const holdsVolumes = (task: Task): boolean => occupies(task) || madeItsVolumes(task);

const waits = (task: Task): boolean => task.status.state === 'pending' && task.nodeId === '' && isLive(task);
