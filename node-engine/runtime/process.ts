import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';

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
