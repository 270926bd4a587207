import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ExitStatus } from '../types.ts';

/** A process that no other can be taken for: the pid alone may have been given away again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the boot, as decimal text. */
  readonly startTime: string;
}

/** What `state.json` says while a container runs, and after. */
export interface RunState extends ProcessIdentity {
  readonly supervisor: ProcessIdentity;
  /** Path of the container's cgroup below each hierarchy's mount. */
  readonly cgroup: string;
}

/** How the main process ended. `signal` is 0 unless a signal ended it; `code` is then 128 + signal. */
export interface RecordedExit extends ExitStatus {
  readonly signal: number;
}

/** The state that the supervisor wrote at the start; undefined when nothing was started. @throws CORRUPT */
export function readState(runDir: string): RunState | undefined {
  return readJson(join(runDir, 'state.json'), (value) => {
    const { pid, startTime, supervisorPid, supervisorStartTime, cgroup } = value;
    if (typeof pid !== 'number' || typeof supervisorPid !== 'number') return undefined;
    if (typeof startTime !== 'string' || typeof supervisorStartTime !== 'string' || typeof cgroup !== 'string')
      return undefined;
    return { pid, startTime, supervisor: { pid: supervisorPid, startTime: supervisorStartTime }, cgroup };
  });
}

/** The exit status that the supervisor recorded; undefined while the container runs. @throws CORRUPT */
export function readExit(runDir: string): RecordedExit | undefined {
  return readJson(join(runDir, 'exit.json'), (value) => {
    const { code, signal, oomKilled, leaseOver, atMs } = value;
    if (typeof code !== 'number' || typeof signal !== 'number' || typeof atMs !== 'number') return undefined;
    return { code, signal, oomKilled: oomKilled === true, at: atMs, ...(leaseOver === true ? { leaseOver } : {}) };
  });
}

/** What the launcher could not honour on this machine, one sentence each. */
export function readWarnings(runDir: string): readonly string[] {
  try {
    return readFileSync(join(runDir, 'warnings'), 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Whether exactly this process still exists (a zombie counts as ended). */
export function isAlive(process: ProcessIdentity): boolean {
  try {
    const stat = readFileSync(`/proc/${process.pid}/stat`, 'latin1');
    // The command in field 2 may hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[19] === process.startTime && fields[0] !== 'Z' && fields[0] !== 'X';
  } catch {
    return false;
  }
}

function readJson<T>(path: string, narrow: (value: Record<string, unknown>) => T | undefined): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  let value: T | undefined;
  try {
    value = narrow(JSON.parse(text) as Record<string, unknown>);
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `reading "${path}": not JSON`, { cause });
  }
  if (value === undefined) throw new TsswarmError('CORRUPT', `reading "${path}": a field is missing`);
  return value;
}
