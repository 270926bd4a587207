import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';
import type { ProcessIdentity } from './ports.ts';

/** Whether that very process still lives; a zombie does not. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in brackets and may hold anything, brackets and blanks too.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] !== 'Z' && fields[0] !== 'X' && fields[19] === startTime;
  } catch {
    return false;
  }
}

/** Processes with an argument that begins with `prefix`, of those that run `program`. */
export function findProcesses(
  program: string,
  prefix: string,
): readonly { readonly pid: number; readonly argument: string }[] {
  const found: { pid: number; argument: string }[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [command = '', ...args] = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      const argument = args.find((one) => one.startsWith(prefix));
      if (command === program && argument !== undefined) found.push({ pid: Number(name), argument });
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** SIGKILL; one that has ended meanwhile is fine. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
