import type { Clock } from '../../base/clock.ts';

/** What is looked at, and what is done: the process's own, unless a test says otherwise. */
export interface MemoryHolder {
  /** CPU time of the process so far, µs. */
  cpuTime(): number;
  /** Collects garbage, gives back what the allocator holds for later, and what of the program file was mapped for starting. */
  trim(): void;
}

const LOOK_MS = 2_500;
/** Share of one core below which a daemon is at rest: heartbeats and health checks are. */
const REST_SHARE = 0.1;
/** Work since the last time that is worth another look at the memory, CPU time in ms. */
const WORK_MS = 200;

/**
 * Gives memory back when a daemon comes to rest after work. What was allocated for hundreds of containers and messages at once leaves
 * free pages between what stays, and the allocator keeps them for ever: 3 to 8 MiB of some 110. Giving them back takes 0.5 to 14 ms, so it
 * is not done in between.
 * @returns ends it
 */
export function trimAtRest(clock: Pick<Clock, 'startTimer'>, { cpuTime, trim }: MemoryHolder): () => void {
  let last = cpuTime();
  let workMs = 0;
  let timer = clock.startTimer(LOOK_MS, look);
  function look(): void {
    const now = cpuTime();
    const usedMs = (now - last) / 1000;
    last = now;
    workMs += usedMs;
    if (workMs >= WORK_MS && usedMs < LOOK_MS * REST_SHARE) {
      trim();
      workMs = 0;
      last = cpuTime();
    }
    timer = clock.startTimer(LOOK_MS, look);
  }
  return () => timer.cancel();
}
