import type { ResolvedHealthCheck } from '../../../node-engine/types.ts';
import type { HealthState } from '../../../proto/types/index.ts';

/** What is known of a container's health. Times are monotonic milliseconds. */
export interface Health {
  readonly state: HealthState;
  readonly failuresInARow: number;
  readonly startedAt: number;
  /** Output of the last failing probe, one line for people. */
  readonly lastOutput: string;
}

export interface ProbeResult {
  readonly ok: boolean;
  readonly output: string;
  readonly at: number;
}

/** Health before the first probe. */
export function initialHealth(startedAt: number): Health {
  return { state: 'starting', failuresInARow: 0, startedAt, lastOutput: '' };
}

/**
 * Health after a probe. As Docker has it: one success makes healthy; failures inside the start period do not count
 * unless it was healthy before; `retries` failures in a row make unhealthy.
 */
export function afterProbe(health: Health, check: ResolvedHealthCheck, probe: ProbeResult): Health {
  if (probe.ok) return { ...health, state: 'healthy', failuresInARow: 0, lastOutput: '' };
  const sheltered = health.state === 'starting' && probe.at - health.startedAt < check.startPeriodMs;
  const failuresInARow = sheltered ? 0 : health.failuresInARow + 1;
  const state = failuresInARow >= check.retries ? 'unhealthy' : health.state;
  return { ...health, state, failuresInARow, lastOutput: probe.output };
}

/** Milliseconds to the next probe: the start interval applies while the start period lasts and it is not healthy yet. */
export function nextProbeDelayMs(health: Health, check: ResolvedHealthCheck, now: number): number {
  const sheltered = health.state === 'starting' && now - health.startedAt < check.startPeriodMs;
  return sheltered ? Math.min(check.startIntervalMs, check.intervalMs) : check.intervalMs;
}
