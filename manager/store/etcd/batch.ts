import { stamped } from '../entry.ts';
import { Overlay } from '../transaction.ts';
import type { ReadTransaction, StoreChange, WriteTransaction } from '../types.ts';
import type { Operation } from './client.ts';

/** An update that waits for its turn, and whoever waits for it. */
export interface Update {
  readonly write: (tx: WriteTransaction) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** How changes are written; both refuse what is too large by throwing. */
export interface BatchEncoding {
  readonly operation: (change: StoreChange) => Operation;
  readonly entry: (changes: readonly StoreChange[]) => Uint8Array;
}

/** What one transaction of etcd can hold. */
export interface BatchLimits {
  readonly operations: number;
  readonly bytes: number;
}

/**
 * Updates that are committed as one transaction of etcd, each made on top of the one before as if that was committed
 * already. What the writers said, results and errors alike, is told when it is committed: it may rest on the others.
 */
export class Batch {
  readonly #limits: BatchLimits;
  readonly #state: Overlay;
  readonly #encoding: BatchEncoding;
  readonly #operations = new Map<string, Operation>();
  readonly #answers: (() => void)[] = [];
  #whole: Uint8Array | undefined;
  #bytes = 0;

  constructor(base: ReadTransaction, encoding: BatchEncoding, limits: BatchLimits) {
    this.#state = new Overlay(base);
    this.#encoding = encoding;
    this.#limits = limits;
  }

  /** Empty: nothing is to be written. */
  get operations(): readonly Operation[] {
    return [...this.#operations.values()];
  }

  /** All changes in one piece, where the only update is too large for one transaction of etcd. */
  get whole(): Uint8Array | undefined {
    return this.#whole;
  }

  /**
   * Runs an update on top of those before.
   * @param time wall time, ms
   * @returns false: there is no room for it beside the others, nothing has happened
   */
  add({ write, resolve, reject }: Update, time: number): boolean {
    try {
      const overlay = new Overlay(this.#state);
      const result = write(overlay);
      const changes = overlay.changes(0, time);
      const { operation, entry } = this.#encoding;
      const operations = changes.map((change) => [`${change.table}/${change.id}`, operation(change)] as const);
      const bytes = operations.reduce((sum, [, one]) => sum + sizeOf(one), 0);
      const isTooMany = this.#operations.size + operations.length > this.#limits.operations;
      if (isTooMany || this.#bytes + bytes > this.#limits.bytes) {
        if (this.#operations.size > 0) return false;
        this.#whole = entry(changes);
      }
      for (const [key, one] of operations) this.#operations.set(key, one);
      this.#bytes += bytes;
      // Versions of etcd are above 0: whoever has read an object before this update does not pass for up to date.
      const version = -1 - this.#answers.length;
      this.#state.absorb(changes.map((change) => withVersion(change, version)));
      this.#answers.push(() => resolve(result));
    } catch (error) {
      this.#answers.push(() => reject(error));
    }
    return true;
  }

  /** It is committed, or there was nothing to commit: tells everybody. */
  answer(): void {
    for (const answer of this.#answers) answer();
  }
}

function withVersion(change: StoreChange, version: number): StoreChange {
  if (change.after === undefined) return change;
  return { ...change, after: stamped(change.after, version) } as StoreChange;
}

/** About what an operation adds to a request. */
export function sizeOf(operation: Operation): number {
  return 'put' in operation ? operation.put.length + operation.value.length : 64;
}
