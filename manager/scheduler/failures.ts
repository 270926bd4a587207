import type { Task } from '../../proto/types/index.ts';
import { peersKey } from './node-entry.ts';

/** So many failures of a service's version on a node, within so long, and the node is the last choice for it (swarmkit). */
const FAILURES = 5;
const WITHIN_MS = 5 * 60_000;
/** Services whose failures are remembered. */
const MAX_KINDS = 1000;

/** Where tasks failed lately. It is remembered by the leader alone: the next one learns it anew. */
export class Failures {
  /** Wall times, the newest last, by kind of task and node. */
  readonly #times = new Map<string, Map<string, number[]>>();

  /** Takes note of a task that has just ended, if it failed. */
  note(task: Task): void {
    if (task.nodeId === '' || (task.status.state !== 'failed' && task.status.state !== 'rejected')) return;
    const key = peersKey(task);
    if (this.#times.size >= MAX_KINDS && !this.#times.has(key)) this.#times.clear();
    const nodes = this.#times.get(key) ?? new Map<string, number[]>();
    const times = [...(nodes.get(task.nodeId) ?? []), task.status.timestamp].slice(-FAILURES);
    this.#times.set(key, nodes.set(task.nodeId, times));
  }

  /** Whether tasks of the kind keep failing on the node. */
  isFailing(key: string, nodeId: string, now: number): boolean {
    const times = this.#times.get(key)?.get(nodeId);
    return times !== undefined && times.length === FAILURES && now - (times[0] ?? 0) <= WITHIN_MS;
  }

  /** Whether tasks of the kind failed anywhere. */
  has(key: string): boolean {
    return this.#times.has(key);
  }
}
