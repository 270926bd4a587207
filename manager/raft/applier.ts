import type { Clock } from '../../base/clock.ts';
import { deferred } from '../../base/async.ts';
import type { Deferred } from '../../base/async.ts';
import { TsswarmError } from '../../base/errors.ts';
import type { RaftLog } from './core/log.ts';
import type { Entry } from './types.ts';
import { unknownOutcome } from './unknown-outcome.ts';

/** Longest stretch of applying before other work gets its turn, ms. */
const SLICE_MS = 5;
const SLICE_ENTRIES = 64;
const SLICE_BYTES = 1024 * 1024;

/** Applies committed entries in order, a slice at a time, and wakes those who wait for them. */
export class Applier {
  readonly #log: RaftLog;
  readonly #clock: Clock;
  readonly #apply: (entry: Entry) => void;
  readonly #progressed: () => void;
  readonly #proposals = new Map<number, { readonly term: number; readonly done: Deferred<void> }>();
  #readers: { readonly index: number; readonly done: Deferred<void> }[] = [];
  #appliedIndex: number;
  #target: number;
  #yielding = false;
  #held = false;

  /** @param progressed called after each slice; what `apply` throws comes out of `commit`, or of the clock's timer */
  constructor(options: {
    readonly log: RaftLog;
    readonly clock: Clock;
    readonly appliedIndex: number;
    readonly apply: (entry: Entry) => void;
    readonly progressed: () => void;
  }) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#apply = options.apply;
    this.#progressed = options.progressed;
    this.#appliedIndex = this.#target = options.appliedIndex;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** Resolves when the entry that was proposed at `index` in `term` is applied. */
  proposal(index: number, term: number): Promise<void> {
    const done = deferred<void>();
    this.#proposals.set(index, { term, done });
    return done.promise;
  }

  /** Resolves `done` when everything up to `index` is applied. */
  read(index: number, done: Deferred<void>): void {
    if (index <= this.#appliedIndex) done.resolve();
    else this.#readers.push({ index, done });
  }

  /** Entries up to `index` are committed. */
  commit(index: number): void {
    this.#target = Math.max(this.#target, index);
    if (!this.#yielding) this.#run();
  }

  /** Applies nothing until `restored`: a snapshot takes the place of the log and of the state. */
  hold(): void {
    this.#held = true;
  }

  /** A snapshot put the state machine at `index`. */
  restored(index: number): void {
    this.#held = false;
    this.#appliedIndex = index;
    this.#target = Math.max(this.#target, index);
    if (this.#yielding) this.#wake();
    else this.#run();
  }

  /** Leadership is lost: what was proposed may or may not come to hold. */
  abandonProposals(error: Error): void {
    const waiting = [...this.#proposals.values()];
    this.#proposals.clear();
    for (const { done } of waiting) done.reject(error);
  }

  abandonReaders(error: Error): void {
    for (const { done } of this.#readers.splice(0)) done.reject(error);
  }

  #run(): void {
    if (this.#held) return;
    const start = this.#clock.monotonic();
    while (this.#appliedIndex < this.#target) {
      const entries = this.#log.slice(this.#appliedIndex + 1, this.#target, SLICE_ENTRIES, SLICE_BYTES);
      if (entries[0]?.index !== this.#appliedIndex + 1) {
        throw new TsswarmError('CORRUPT', `applying the log: entry ${this.#appliedIndex + 1} is missing`);
      }
      for (const entry of entries) {
        this.#apply(entry);
        this.#appliedIndex = entry.index;
        this.#settle(entry);
      }
      if (this.#appliedIndex < this.#target && this.#clock.monotonic() - start >= SLICE_MS) {
        this.#yielding = true;
        this.#clock.startTimer(0, () => {
          this.#yielding = false;
          this.#run();
        });
        break;
      }
    }
    this.#wake();
  }

  #settle({ index, term }: Entry): void {
    const waiting = this.#proposals.get(index);
    if (waiting === undefined) return;
    this.#proposals.delete(index);
    if (waiting.term === term) waiting.done.resolve();
    else waiting.done.reject(unknownOutcome('another leader took over'));
  }

  #wake(): void {
    const ready = this.#readers.filter(({ index }) => index <= this.#appliedIndex);
    if (ready.length > 0) this.#readers = this.#readers.filter(({ index }) => index > this.#appliedIndex);
    for (const { done } of ready) done.resolve();
    this.#progressed();
  }
}
