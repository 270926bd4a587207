import type { NodeId } from '../../base/ids.ts';
import type { Node } from '../../proto/types/index.ts';

/** A node that is silent for so many heartbeats is down. */
export const MISSED_HEARTBEATS = 3;
/** What a node's lease is longer than that: its containers are asked to end when the node is down, and killed when it has run out. */
const END_MS = 1_000;
/** By how much the clocks of two machines may run apart, as a part of the time that passes; chrony slews by 8.3 % at most. */
const MAX_DRIFT = 0.1;
/** How long the kernel may take from the end of a lease to the end of the processes that are killed then. */
const KILL_MS = 500;

/** How long a node whose heartbeat is answered may go on without another answer, ms from when it SENT it. */
export const leaseMs = (heartbeatMs: number): number => heartbeatMs * MISSED_HEARTBEATS + END_MS;

/** When a lease that a manager has promised is over for sure on the other machine too, ms from when it ANSWERED. */
export const surelyOverAfterMs = (lengthMs: number): number =>
  Math.ceil(Math.round(lengthMs * (1 + MAX_DRIFT) * 1000) / 1000) + KILL_MS;

/** A lease as it is sent and stored, where 0 has no end. */
export const lengthOf = (stored: number): number => (stored === 0 ? Infinity : stored);
export const storedLength = (length: number): number => (length === Infinity ? 0 : length);

/**
 * The lease that a node gets, ms; Infinity: one without end, for the only manager. Nobody else could decide to run elsewhere what
 * it runs, so that its containers outlive a daemon that is stopped for as long as it takes.
 */
export function leaseFor(node: Node | undefined, nodes: () => readonly Node[], heartbeatMs: number): number {
  const isOnlyManager =
    node?.spec.role === 'manager' && nodes().every(({ id, spec }) => id === node.id || spec.role !== 'manager');
  return isOnlyManager ? Infinity : leaseMs(heartbeatMs);
}

/**
 * What a leader knows of the leases of its nodes: until when each of them may still run what it was assigned. All times are of the
 * leader's own monotonic clock, ms. Held in memory only: times of one machine mean nothing on another.
 */
export class Leases {
  readonly #ends = new Map<NodeId, number>();
  #othersEnd = Infinity;

  /**
   * A manager begins to lead. The one before it may have answered anybody until just now: nodes' `status.leaseMs` says for how long at most.
   * @param usualMs for nodes of which nothing is stored any more
   */
  begin(nodes: readonly Node[], usualMs: number, now: number): void {
    this.#othersEnd = now + surelyOverAfterMs(usualMs);
    // What this manager promised when it led before is not the last word: those between have renewed it since, also to nodes that are
    // no longer in the store.
    for (const [id, end] of this.#ends) if (end < this.#othersEnd) this.#ends.delete(id);
    for (const { id, status } of nodes) {
      const length = status.leaseMs === undefined ? usualMs : lengthOf(status.leaseMs);
      this.promise(id, length, now);
    }
  }

  /** A node is told that it may go on for `lengthMs`, or says that it does. An earlier promise is kept. */
  promise(nodeId: NodeId, lengthMs: number, now: number): void {
    const known = this.#ends.get(nodeId) ?? 0;
    // An end that is never is taken back by the node alone, when it says that it is under a lease with one.
    this.#ends.set(nodeId, Math.max(known === Infinity ? 0 : known, now + surelyOverAfterMs(lengthMs)));
  }

  /** Whether nothing that may be written elsewhere too is written on that node any more. */
  isOver(nodeId: NodeId, now: number): boolean {
    return now >= (this.#ends.get(nodeId) ?? this.#othersEnd);
  }
}
