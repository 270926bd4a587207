import { sleep } from './async.ts';
import type { Clock } from './clock.ts';

/** A wait is made in so many parts: what is late of a part, beyond its own length again, did not pass for who waits. */
const PARTS = 10;

/**
 * Waits one part of `ms` and says how much of the time that passed counts: a process that had no processor for some seconds, or was
 * stopped, finds all that the others have sent meanwhile only afterwards, and must not take them for silent.
 * @returns ms, at most twice the part
 * @throws the signal's reason, when `signal` aborts first
 */
export async function passAwake(clock: Clock, ms: number, signal?: AbortSignal): Promise<number> {
  const part = Math.max(1, ms / PARTS);
  const since = clock.monotonic();
  await sleep(clock, part, signal);
  return Math.min(clock.monotonic() - since, 2 * part);
}

/**
 * Waits until `ms` have passed in which this process got round, at most `ms` and the time in which it did not.
 * @throws the signal's reason, when `signal` aborts first
 */
export async function sleepAwake(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  for (let passed = 0; passed < ms;) passed += await passAwake(clock, ms, signal);
}
