import type { Clock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import type { Random } from '../../base/random.ts';

/** One life of a simulated process: what belongs to it stops with it. */
export interface Life {
  alive: boolean;
  /** A stopped process (SIGSTOP, a long collection): nothing of it runs before this time. */
  pausedUntil: number;
}

interface Event {
  at: number;
  readonly order: number;
  readonly life: Life | undefined;
  readonly tag: number;
  readonly run: () => void;
}

/** Microtask turns after each event: more than any chain of promises in the driver is long. */
const TURNS = 12;

/** Breaks a simulation off: what the text says must never happen. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/**
 * A virtual machine room: one queue of events ordered by time, and all chance from one seed. Everything that happens goes
 * into a hash, so that two runs of a seed can be compared.
 */
export class World {
  now = 0;
  events = 0;
  readonly random: Random;
  violation: Violation | undefined;
  #order = 0;
  #hash = 0x811c9dc5;
  readonly #heap: Event[] = [];
  /** The process that the present event is of. */
  #present: Life | undefined;
  #ambush: { readonly life: Life; readonly turns: number; readonly strike: () => void } | undefined;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** The trace so far. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  trace(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193);
    this.#hash = Math.imul(this.#hash ^ (this.#hash >>> 15), 0x2c1b3c6d);
  }

  /** A number between the two. */
  between(low: number, high: number): number {
    return low + (high - low) * this.random.next();
  }

  integer(low: number, high: number): number {
    return Math.floor(this.between(low, high + 1));
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.random.next() * values.length)] as T;
  }

  /** Runs something later; not at all if its process has died by then. */
  after(delayMs: number, run: () => void, life?: Life, tag = 0): { cancel(): void } {
    const event: Event = { at: this.now + Math.max(0, delayMs), order: this.#order++, life, tag, run };
    this.#push(event);
    let cancelled = false;
    const cancel = (): void => {
      if (cancelled) return;
      cancelled = true;
      (event as { run: () => void }).run = () => undefined;
    };
    return { cancel };
  }

  /**
   * Runs something in a process from outside: at once, or when it wakes up, before or after the timers that are overdue
   * then.
   */
  enter(life: Life, run: () => void, tag = 0): void {
    if (!life.alive) return;
    this.#present = life;
    if (life.pausedUntil <= this.now) return run();
    const order = this.chance(0.5) ? this.#order++ : -this.#order++;
    this.#push({ at: life.pausedUntil, order, life, tag, run });
  }

  /**
   * Does something to a process in the middle of the next thing that it does: after so many turns of its promises, wherever it
   * waits then. One at a time: the last counts.
   */
  ambush(life: Life, strike: () => void): void {
    this.#ambush = { life, turns: this.integer(0, TURNS - 1), strike };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Records the first thing that went wrong; the run ends with it. */
  fail(message: string): void {
    this.violation ??= new Violation(`at ${this.now.toFixed(3)} ms: ${message}`);
  }

  /** Lets virtual time pass up to `end`, or until something must not have happened, or `done` says so. */
  async runUntil(end: number, done: () => boolean = () => false): Promise<void> {
    while (this.violation === undefined && !done()) {
      const event = this.#heap[0];
      if (event === undefined || event.at > end) {
        this.now = Math.max(this.now, end);
        return;
      }
      this.#pop();
      if (event.life !== undefined) {
        if (!event.life.alive) continue;
        if (event.life.pausedUntil > event.at) {
          event.at = event.life.pausedUntil;
          this.#push(event);
          continue;
        }
      }
      this.now = Math.max(this.now, event.at);
      this.events++;
      this.trace(Math.round(event.at * 1000));
      this.trace(event.tag);
      this.#present = event.life;
      event.run();
      for (let i = 0; i < TURNS; i++) {
        this.#strike(i);
        await null;
      }
    }
  }

  #strike(turn: number): void {
    const ambush = this.#ambush;
    if (ambush === undefined || ambush.life !== this.#present || ambush.turns !== turn) return;
    this.#ambush = undefined;
    if (ambush.life.alive) ambush.strike();
  }

  /** The clock of a process, which may run at another speed than the world. */
  clock(life: Life, rate: number): Clock {
    const started = this.now;
    return {
      now: () => 1_700_000_000_000 + this.now,
      monotonic: () => (this.now - started) * rate,
      startTimer: (delayMs, fire) => this.after(delayMs / rate, fire, life, 1),
    };
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = heap[parent] as Event;
      if (before(other, event)) break;
      heap[at] = other;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (before(last, heap[child] as Event)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

/**
 * A clock on which work takes long: whoever works in slices is interrupted between them, and other things happen then. Its
 * wall time is wrong by hours, in whole milliseconds.
 */
export function slowClock(world: World, clock: Clock, wrongBy = world.integer(-10_000_000, 10_000_000)): Clock {
  let worked = 0;
  return {
    now: () => Math.floor(clock.now()) + wrongBy,
    monotonic: () => clock.monotonic() + (worked += 3),
    startTimer: (delayMs, fire) => clock.startTimer(delayMs + world.between(0, 5), fire),
  };
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
