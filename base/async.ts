import type { Clock } from './clock.ts';

/** A promise with its two ends in hand. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Makes a {@link Deferred}. */
export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>();
}

/**
 * Waits `ms` milliseconds on `clock`.
 * @throws the signal's reason, when `signal` aborts first
 */
export async function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = deferred<void>();
  const timer = clock.startTimer(ms, resolve);
  const onAbort = (): void => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * The delay before attempt `attempt` (0 for the first retry): `baseMs` doubled each time, at most `maxMs`.
 * Docker's restart manager doubles from 100 ms to 1 min the same way.
 */
export function backoffMs(attempt: number, baseMs: number, maxMs: number): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
}

/** Lets at most `limit` callers in at a time; the others wait in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#free = limit;
  }

  /** Runs `work` when a place is free and gives the place back however it ends. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** Runs works of the same key one after another and works of different keys side by side. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    const tail = mine.catch(() => undefined);
    this.#tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

/**
 * Runs one work again and again as it is asked for, never two at a time; what asks while it runs gets one more run, together.
 * For work that brings something up to date with all there is, so that one run serves everybody who asked before it began.
 */
export class Coalesced {
  readonly #work: () => Promise<void>;
  #wanted = false;
  #running: Promise<void> | undefined;

  /** @param work must not reject */
  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves when a run that began after the call has ended. */
  run(): Promise<void> {
    this.#wanted = true;
    return (this.#running ??= this.#loop());
  }

  /** Something runs, or is about to. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #loop(): Promise<void> {
    // Never in the turn of the caller: `#running` is set when the first run begins.
    await Promise.resolve();
    while (this.#wanted) {
      this.#wanted = false;
      await this.#work();
    }
    // In the turn of the last look at what is wanted: who asks later begins anew.
    this.#running = undefined;
  }
}
