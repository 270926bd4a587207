import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { isReady } from './listening.ts';

/** Between two questions, ms: a server listens some milliseconds after its start, or takes its time. */
const FIRST_MS = 4;
const LAST_MS = 100;

/**
 * Resolves when all ports are listened to, when it was waited long enough, when it cannot be told, or when `signal` aborts.
 * @param ask the ports that the container listens to; undefined: it cannot be told
 */
export async function untilListening(
  ask: () => Promise<ReadonlySet<number> | undefined>,
  ports: readonly number[],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const began = clock.monotonic();
  let first: number | undefined;
  for (let pause = FIRST_MS; !signal.aborted; pause = Math.min(LAST_MS, pause * 2)) {
    const found = await ask().catch(() => undefined);
    if (found === undefined) return;
    const now = clock.monotonic();
    if (ports.some((port) => found.has(port))) first ??= now;
    if (isReady(ports, found, now - began, first === undefined ? undefined : now - first)) return;
    await sleep(clock, pause, signal).catch(() => undefined);
  }
}
