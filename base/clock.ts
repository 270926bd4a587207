/** A timer that was started on a {@link Clock}. */
export interface Timer {
  /** Stops the timer; stopping one that fired or was stopped does nothing. */
  cancel(): void;
}

/**
 * Time as a parameter. The manager and the agent never read the wall clock themselves, so that a whole cluster can run
 * under a virtual clock. Nothing falls back to the wall clock by default.
 */
export interface Clock {
  /** Wall time in milliseconds since the Unix epoch: for showing and for storing, never for measuring intervals. */
  now(): number;
  /** Monotonic time in milliseconds from an arbitrary start: for intervals and deadlines. */
  monotonic(): number;
  /**
   * Calls `fire` once, `delayMs` from now (0: as soon as the current turn ends).
   * @param delayMs milliseconds, finite and >= 0
   */
  startTimer(delayMs: number, fire: () => void): Timer;
}

/** setTimeout holds its delay in a signed 32-bit integer; longer waits are made of several. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** The machine's own clock. Only composition roots and engine edges use it; everybody else is handed a Clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  startTimer(delayMs, fire) {
    // A timeout takes a millisecond at least.
    if (delayMs === 0) {
      const immediate = setImmediate(fire);
      return { cancel: () => clearImmediate(immediate) };
    }
    let handle: NodeJS.Timeout;
    const arm = (restMs: number): void => {
      const step = Math.min(restMs, LONGEST_DELAY_MS);
      handle = setTimeout(() => (restMs > step ? arm(restMs - step) : fire()), step);
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};
