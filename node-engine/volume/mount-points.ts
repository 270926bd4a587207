import { readFileSync } from 'node:fs';

/**
 * Mount points at and below a directory, deepest first, as this process sees them (proc_pid_mountinfo(5)).
 * A path that is mounted over several times comes several times.
 */
export function mountPointsBelow(
  directory: string,
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): string[] {
  const points: string[] = [];
  for (const line of mountinfo.split('\n')) {
    const point = unescapeField(line.split(' ')[4] ?? '');
    if (point === directory || point.startsWith(`${directory}/`)) points.push(point);
  }
  // Later lines are newer mounts: taking them off in reverse order never meets one that is covered.
  return points.reverse();
}

/** The kernel writes blank, tab, newline and backslash as \ooo. */
export function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
