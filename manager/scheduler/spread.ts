import type { SpreadLabel } from '../../base/constraint.ts';
import { labelOf } from '../model/constraints.ts';
import type { NodeEntry } from './node-entry.ts';

/** How many tasks of one kind each node has; those without any are left out. */
export type Peers = ReadonlyMap<NodeEntry, number>;

/** A node that a task may go to. */
interface Candidate {
  readonly entry: NodeEntry;
  peers: number;
  readonly leaf: number;
}

/**
 * The node with fewer peers, then with fewer tasks, then with a smaller share reserved, then the one that has the image, then the
 * older one.
 */
function isLighter(a: NodeEntry, aPeers: number, b: NodeEntry, bPeers: number, imageKey: string): boolean {
  if (aPeers !== bPeers) return aPeers < bPeers;
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  if (a.reservedShare !== b.reservedShare) return a.reservedShare < b.reservedShare;
  const aHas = a.hasImage(imageKey);
  return aHas === b.hasImage(imageKey) ? a.order < b.order : aHas;
}

/** The lightest of `entries` that `fits`, by one look at each: for a single task. */
export function lightest(
  entries: readonly NodeEntry[],
  peers: Peers,
  imageKey: string,
  fits: (entry: NodeEntry) => boolean,
): NodeEntry | undefined {
  let best: NodeEntry | undefined;
  let bestPeers = 0;
  for (const entry of entries) {
    const own = peers.size === 0 ? 0 : (peers.get(entry) ?? 0);
    if ((best !== undefined && !isLighter(entry, own, best, bestPeers, imageKey)) || !fits(entry)) continue;
    best = entry;
    bestPeers = own;
  }
  return best;
}

/**
 * Nodes by the values of labels, level by level: branch 0 is all of them, the last level's branches are the leaves. Nodes
 * without a label are a branch of their own (swarmkit's decision tree).
 */
export interface Branches {
  /** Each branch's; the root's is -1. */
  readonly parents: readonly number[];
  readonly children: readonly (readonly number[])[];
  /** By the order of the nodes. */
  readonly leafOf: readonly number[];
}

/** Sorts nodes into branches. */
export function branchesOf(entries: Iterable<NodeEntry>, labels: readonly SpreadLabel[]): Branches {
  const parents = [-1];
  const children: number[][] = [[]];
  const leafOf: number[] = [];
  const known = new Map<string, number>();
  for (const entry of entries) {
    let branch = 0;
    for (const label of labels) {
      const key = `${branch}/${labelOf(label, entry.node)}`;
      let next = known.get(key);
      if (next === undefined) {
        next = parents.length;
        known.set(key, next);
        parents.push(branch);
        children.push([]);
        children[branch]?.push(next);
      }
      branch = next;
    }
    leafOf[entry.order] = branch;
  }
  return { parents, children, leafOf };
}

/**
 * Chooses nodes for many tasks of one kind, one after the other. On every level the branch with the fewest tasks of the kind
 * is taken that has room, however many nodes it has; a leaf is a heap of its nodes, the lightest first.
 */
export class SpreadTree {
  readonly #branches: Branches;
  readonly #peers: number[];
  readonly #heaps: Candidate[][];
  readonly #full: boolean[];
  readonly #fits: (entry: NodeEntry) => boolean;
  readonly #imageKey: string;
  #chosen: Candidate | undefined;

  /**
   * @param candidates nodes that may be chosen
   * @param imageKey of the tasks' image
   * @param fits whether a node has room for one more task; asked again after every placement
   */
  constructor(
    candidates: readonly NodeEntry[],
    branches: Branches,
    peers: Peers,
    imageKey: string,
    fits: (entry: NodeEntry) => boolean,
  ) {
    this.#fits = fits;
    this.#imageKey = imageKey;
    this.#branches = branches;
    this.#peers = branches.parents.map(() => 0);
    this.#full = branches.parents.map(() => false);
    this.#heaps = branches.parents.map(() => []);
    for (const entry of candidates) {
      const leaf = branches.leafOf[entry.order] ?? 0;
      this.#heaps[leaf]?.push({ entry, peers: peers.get(entry) ?? 0, leaf });
    }
    for (const [entry, count] of peers) {
      // What runs on a node that is down serves nobody.
      if (entry.node.status.state !== 'down') this.#addPeers(branches.leafOf[entry.order] ?? 0, count);
    }
    for (const heap of this.#heaps) for (let i = (heap.length >> 1) - 1; i >= 0; i--) sink(heap, i, imageKey);
  }

  /** The node for the next task; undefined when none has room. Call {@link placed} once the task counts there. */
  next(): NodeEntry | undefined {
    this.#chosen = this.#best(0);
    return this.#chosen?.entry;
  }

  /** The task is on the node that {@link next} named. */
  placed(): void {
    const chosen = this.#chosen;
    if (chosen === undefined) return;
    chosen.peers++;
    this.#addPeers(chosen.leaf, 1);
    sink(this.#heaps[chosen.leaf] ?? [], 0, this.#imageKey);
    this.#chosen = undefined;
  }

  #best(branch: number): Candidate | undefined {
    const children = this.#branches.children[branch] ?? [];
    const best = children.length === 0 ? this.#top(this.#heaps[branch] ?? []) : this.#bestOf(children);
    // Nothing is freed during a run: it need not be asked again.
    if (best === undefined) this.#full[branch] = true;
    return best;
  }

  #bestOf(children: readonly number[]): Candidate | undefined {
    let best: Candidate | undefined;
    let fewest = Infinity;
    for (const child of children) {
      const peers = this.#peers[child] ?? 0;
      if (peers > fewest || this.#full[child] === true) continue;
      const candidate = this.#best(child);
      if (candidate === undefined) continue;
      if (
        best !== undefined &&
        peers === fewest &&
        !isLighter(candidate.entry, candidate.peers, best.entry, best.peers, this.#imageKey)
      )
        continue;
      best = candidate;
      fewest = peers;
    }
    return best;
  }

  #top(heap: Candidate[]): Candidate | undefined {
    for (;;) {
      const top = heap[0];
      if (top === undefined || this.#fits(top.entry)) return top;
      const last = heap.pop();
      if (last === undefined || last === top) continue;
      heap[0] = last;
      sink(heap, 0, this.#imageKey);
    }
  }

  #addPeers(leaf: number, count: number): void {
    for (let at = leaf; at >= 0; at = this.#branches.parents[at] ?? -1) {
      this.#peers[at] = (this.#peers[at] ?? 0) + count;
    }
  }
}

/** Brings the candidate at `from` down to where no lighter one is below it. */
function sink(heap: Candidate[], from: number, imageKey: string): void {
  const moving = heap[from];
  if (moving === undefined) return;
  let at = from;
  for (;;) {
    const left = 2 * at + 1;
    let lighter = heap[left];
    if (lighter === undefined) break;
    let next = left;
    const right = heap[left + 1];
    if (right !== undefined && isLighter(right.entry, right.peers, lighter.entry, lighter.peers, imageKey)) {
      lighter = right;
      next = left + 1;
    }
    if (!isLighter(lighter.entry, lighter.peers, moving.entry, moving.peers, imageKey)) break;
    heap[at] = lighter;
    at = next;
  }
  heap[at] = moving;
}
