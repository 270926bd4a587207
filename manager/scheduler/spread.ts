import { labelOf } from './constraints.ts';
import type { Demand } from './demand.ts';
import type { NodeEntry } from './node-entry.ts';

/** A node that a task may go to. */
interface Candidate {
  readonly entry: NodeEntry;
  peers: number;
  readonly branch: Branch;
}

/** Nodes with the same value of a label; the last level holds the nodes themselves as a heap, the lightest first. */
interface Branch {
  readonly parent: Branch | undefined;
  readonly children: Map<string, Branch>;
  readonly heap: Candidate[];
  peers: number;
}

/** The node with fewer peers, then with fewer tasks, then with a smaller share reserved, then the older one. */
function isLighter(a: Pick<Candidate, 'entry' | 'peers'>, b: Pick<Candidate, 'entry' | 'peers'>): boolean {
  if (a.peers !== b.peers) return a.peers < b.peers;
  if (a.entry.tasks !== b.entry.tasks) return a.entry.tasks < b.entry.tasks;
  const [left, right] = [a.entry.reservedShare, b.entry.reservedShare];
  return left === right ? a.entry.order < b.entry.order : left < right;
}

/** The lightest of `entries` that `fits`, by one look at each: for a single task. */
export function lightest(
  entries: readonly NodeEntry[],
  peersKey: string,
  fits: (entry: NodeEntry) => boolean,
): NodeEntry | undefined {
  let best: { entry: NodeEntry; peers: number } | undefined;
  for (const entry of entries) {
    const candidate = { entry, peers: entry.peersOf(peersKey) };
    if ((best === undefined || isLighter(candidate, best)) && fits(entry)) best = candidate;
  }
  return best?.entry;
}

/**
 * Chooses nodes for many tasks of one kind, one after the other. On every level the branch with the fewest tasks of the kind
 * is taken that has room, however many nodes it has (swarmkit's decision tree); nodes without the label are a branch of
 * their own.
 */
export class SpreadTree {
  readonly #root: Branch = newBranch(undefined);
  readonly #fits: (entry: NodeEntry) => boolean;
  #chosen: Candidate | undefined;

  /**
   * @param candidates nodes that may be chosen
   * @param all nodes whose tasks count in their branch
   * @param fits whether a node has room for one more task; asked again after every placement
   */
  constructor(
    candidates: readonly NodeEntry[],
    all: Iterable<NodeEntry>,
    { spread, peersKey }: Demand,
    fits: (entry: NodeEntry) => boolean,
  ) {
    this.#fits = fits;
    const branchOf = (entry: NodeEntry): Branch => {
      let branch = this.#root;
      for (const label of spread) branch = child(branch, labelOf(label, entry.node));
      return branch;
    };
    for (const entry of candidates) {
      const branch = branchOf(entry);
      branch.heap.push({ entry, peers: entry.peersOf(peersKey), branch });
    }
    if (spread.length > 0) {
      for (const entry of all) {
        // What runs on a node that is down serves nobody.
        if (entry.node.status.state !== 'down') addPeers(branchOf(entry), entry.peersOf(peersKey));
      }
    }
    heapify(this.#root);
  }

  /** The node for the next task; undefined when none has room. Call {@link placed} once the task counts there. */
  next(): NodeEntry | undefined {
    this.#chosen = this.#best(this.#root);
    return this.#chosen?.entry;
  }

  /** The task is on the node that {@link next} named. */
  placed(): void {
    const chosen = this.#chosen;
    if (chosen === undefined) return;
    chosen.peers++;
    addPeers(chosen.branch, 1);
    sink(chosen.branch.heap, 0);
    this.#chosen = undefined;
  }

  #best(branch: Branch): Candidate | undefined {
    if (branch.children.size === 0) {
      const { heap } = branch;
      for (;;) {
        const top = heap[0];
        if (top === undefined || this.#fits(top.entry)) return top;
        // Nothing is freed during a run: it need not be asked again.
        const last = heap.pop();
        if (last === undefined || last === top) continue;
        heap[0] = last;
        sink(heap, 0);
      }
    }
    let best: Candidate | undefined;
    let fewest = Infinity;
    for (const [value, inner] of branch.children) {
      if (inner.peers > fewest) continue;
      const candidate = this.#best(inner);
      if (candidate === undefined) {
        branch.children.delete(value);
        continue;
      }
      if (best !== undefined && inner.peers === fewest && !isLighter(candidate, best)) continue;
      best = candidate;
      fewest = inner.peers;
    }
    return best;
  }
}

function newBranch(parent: Branch | undefined): Branch {
  return { parent, children: new Map(), heap: [], peers: 0 };
}

function child(branch: Branch, value: string): Branch {
  const known = branch.children.get(value);
  if (known !== undefined) return known;
  const made = newBranch(branch);
  branch.children.set(value, made);
  return made;
}

function addPeers(branch: Branch, count: number): void {
  for (let at: Branch | undefined = branch; at !== undefined; at = at.parent) at.peers += count;
}

function heapify(branch: Branch): void {
  for (let i = (branch.heap.length >> 1) - 1; i >= 0; i--) sink(branch.heap, i);
  for (const inner of branch.children.values()) heapify(inner);
}

/** Brings the candidate at `from` down to where no lighter one is below it. */
function sink(heap: Candidate[], from: number): void {
  const moving = heap[from];
  if (moving === undefined) return;
  let at = from;
  for (;;) {
    const left = 2 * at + 1;
    let lighter = heap[left];
    if (lighter === undefined) break;
    let next = left;
    const right = heap[left + 1];
    if (right !== undefined && isLighter(right, lighter)) {
      lighter = right;
      next = left + 1;
    }
    if (!isLighter(lighter, moving)) break;
    heap[at] = lighter;
    at = next;
  }
  heap[at] = moving;
}
