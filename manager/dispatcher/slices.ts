import type { Clock } from '../../base/clock.ts';

/** So much is done in one piece. What follows from it, as putting it on the wire, takes about as long again. */
const SLICE_MS = 10;
/** Fewer do not wait for one another: all of them together take no longer than one of a large cluster's other pieces of work. */
const MANY = 50;

/**
 * Lets many do something short, one after the other, without holding up everything else: a commit can concern a thousand sessions, and a
 * leader that looks for all of them in one piece sends no heartbeats meanwhile.
 */
export class Slices {
  readonly #clock: Pick<Clock, 'monotonic' | 'startTimer'>;
  readonly #count: () => number;
  #spentMs = 0;
  #next: Promise<void> | undefined;

  /** @param count how many there are */
  constructor(clock: Pick<Clock, 'monotonic' | 'startTimer'>, count: () => number) {
    this.#clock = clock;
    this.#count = count;
  }

  /** What to wait for before asking again; undefined: there is time now. */
  full(): Promise<void> | undefined {
    if (this.#spentMs < SLICE_MS || this.#count() <= MANY) return undefined;
    this.#next ??= new Promise((resolve) =>
      this.#clock.startTimer(0, () => {
        this.#spentMs = 0;
        this.#next = undefined;
        resolve();
      }),
    );
    return this.#next;
  }

  /** Does `work`, and counts how long it takes. @throws what that throws */
  spend<R>(work: () => R): R {
    const began = this.#clock.monotonic();
    try {
      return work();
    } finally {
      this.#spentMs += this.#clock.monotonic() - began;
    }
  }
}
