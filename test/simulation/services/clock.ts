import type { Clock } from '../../../base/clock.ts';
import type { Life, World } from '../world.ts';

/** Timers of a machine fire on whole microseconds: what is left of a rounding must not be waited for again and again. */
const TICKS_PER_MS = 1000;

/** The clock of a machine: of its own speed, and wrong by `skewMs`; its wall time is in whole milliseconds. */
export function machineClock(world: World, life: Life, rate: number, skewMs: number): Clock {
  const clock = world.clock(life, rate);
  return {
    now: () => Math.floor(clock.now()) + skewMs,
    monotonic: () => clock.monotonic(),
    startTimer: (delayMs, fire) => clock.startTimer(Math.ceil(delayMs * TICKS_PER_MS) / TICKS_PER_MS, fire),
  };
}
