import { messageOf } from '../../../base/errors.ts';
import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import type { ContainerId, Containers, HealthState, ResolvedHealthCheck } from '../../../node-engine/types.ts';
import { collectOutput } from '../output.ts';
import type { Health, ProbeResult } from './health.ts';
import { afterProbe, initialHealth, nextProbeDelayMs } from './health.ts';

/** The engine as health checking sees it. */
export type ProbeTarget = Pick<Containers, 'exec'>;

/**
 * Probes a running container until `signal` aborts, and says every change of its health.
 * @param known its health by the check that it had before this one: it is asked at once then, and stands until it has answered. Absent: it
 *   has just been started
 * @param onChange called with the new health whenever state or failure count changed
 */
export async function watchHealth(
  target: ProbeTarget,
  id: ContainerId,
  check: ResolvedHealthCheck,
  clock: Clock,
  signal: AbortSignal,
  onChange: (health: Health) => void,
  known?: HealthState,
): Promise<void> {
  let health = initialHealth(clock.monotonic());
  if (known === 'healthy') health = { ...health, state: known };
  if (known === undefined) onChange(health);
  for (let isFirst = known !== undefined; !signal.aborted; isFirst = false) {
    try {
      await sleep(clock, isFirst ? 0 : nextProbeDelayMs(health, check, clock.monotonic()), signal);
    } catch {
      return;
    }
    const result = await probe(target, id, check, clock, signal);
    if (signal.aborted) return;
    const next = afterProbe(health, check, result);
    if (isFirst || next.state !== health.state || next.failuresInARow !== health.failuresInARow) onChange(next);
    health = next;
  }
}

/** Runs the check once. A check that cannot be run or takes too long is a failure, with the reason as its output. */
async function probe(
  target: ProbeTarget,
  id: ContainerId,
  check: ResolvedHealthCheck,
  clock: Clock,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const done = new AbortController();
  try {
    const session = await target.exec(id, {
      argv: check.argv,
      env: [],
      user: '',
      workingDir: '',
      tty: false,
      stdin: false,
      privileged: false,
    });
    try {
      const output = collectOutput(session.output);
      const ended = session.exit.then(async ({ code }) => ({ code, output: await output }));
      const tooLong = sleep(clock, check.timeoutMs, AbortSignal.any([done.signal, signal])).then(() => undefined);
      const result = await Promise.race([ended, tooLong]);
      if (result === undefined) {
        void ended.catch(() => undefined);
        return {
          ok: false,
          output: `health check exceeded its timeout of ${check.timeoutMs} ms`,
          at: clock.monotonic(),
        };
      }
      return { ok: result.code === 0, output: result.output, at: clock.monotonic() };
    } finally {
      session.close();
    }
  } catch (error) {
    return { ok: false, output: messageOf(error), at: clock.monotonic() };
  } finally {
    done.abort(new Error('probed'));
  }
}
