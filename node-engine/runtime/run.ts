import type { Deferred } from '../../base/async.ts';
import { deferred, sleep } from '../../base/async.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { ExitStatus } from '../types.ts';
import type { ContainerParts } from './parts.ts';
import type { Supervision } from './ports.ts';
import type { ContainerRecord, ContainerStatus } from './record.ts';

/** A container in memory. */
export interface Entry {
  record: ContainerRecord;
  status: ContainerStatus;
  /** Whether this daemon knows its sandbox to be in place. */
  sandboxReady: boolean;
  supervision: Supervision | undefined;
  /** Resolves when the current or next run has ended; rejects when the container is removed. */
  exited: Deferred<ExitStatus>;
}

export const SIGKILL = 9;
/** How long a SIGKILL to the main process alone may take, before every process is looked for. */
const KILL_MAIN_MS = 2_000;
/** How long killed processes may take to vanish before the stop is reported as failed. */
const KILL_ALL_MS = 30_000;

type StopParts = Pick<ContainerParts, 'launcher' | 'disk' | 'clock' | 'logger'>;

/** Signals the main process of a running container, and kills everything of it when `graceMs` have passed. */
export async function stopRun(parts: StopParts, entry: Entry, signal: number, graceMs: number): Promise<void> {
  const { id, name } = entry.record;
  if (signal !== SIGKILL) {
    await signalRun(entry, signal);
    if (await endsWithin(parts, entry, graceMs)) return;
    parts.logger.info('stop grace is over, killing', { component: 'containers', id, name, graceMs });
  }
  await killRun(parts, entry);
}

/**
 * SIGKILL to the main process, whose supervisor kills the rest; if that does not help, to each process found.
 * Returns when the container has ended.
 * @throws RUNTIME_FAILED when processes are left
 */
export async function killRun(parts: StopParts, entry: Entry): Promise<void> {
  await signalRun(entry, SIGKILL);
  if (entry.supervision && (await endsWithin(parts, entry, KILL_MAIN_MS))) return;
  if (entry.status.state !== 'running') return;
  await parts.launcher.killAll(parts.disk.paths(entry.record.id).runDir);
  if (await endsWithin(parts, entry, KILL_ALL_MS)) return;
  throw new TsswarmError(
    'RUNTIME_FAILED',
    `stopping container "${entry.record.name}": processes are left after SIGKILL`,
    { hint: 'they may hang in the kernel: look at /proc/PID/stack' },
  );
}

/** Signals the main process; that it does not run, or ends at this moment, is no failure. */
export async function signalRun(entry: Entry | undefined, signal: number): Promise<void> {
  try {
    await entry?.supervision?.kill(signal);
  } catch (error) {
    if (!isTsswarmError(error, 'CONTAINER_NOT_RUNNING')) throw error;
  }
}

/** The end of a run that is to begin. */
export function nextExit(): Deferred<ExitStatus> {
  const exit = deferred<ExitStatus>();
  // Rejected when the container is removed, whether or not anybody waits.
  exit.promise.catch(() => undefined);
  return exit;
}

async function endsWithin({ clock }: StopParts, entry: Entry, ms: number): Promise<boolean> {
  const over = new AbortController();
  const late = sleep(clock, ms, over.signal).then(
    () => false,
    () => true,
  );
  const first = await Promise.race([entry.exited.promise.then(() => true), late]);
  over.abort();
  return first;
}
