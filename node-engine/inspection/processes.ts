import { readlinkSync } from 'node:fs';
import type { ProcessTable } from '../types.ts';
import { processesIn, readText } from './cgroup-files.ts';

const TITLES = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'];
/** USER_HZ, which /proc counts in: 100 on every architecture that Linux runs containers on. */
const TICKS = 100;

/**
 * The processes of a container as `ps -ef` on the node shows them.
 * @param folders the container's cgroup in each hierarchy
 * @param main its main process: what is in another pid namespace is its supervisor
 */
export function processTable(folders: readonly string[], main: number): ProcessTable {
  const users = userNames();
  const uptime = Number((readText('/proc/uptime') ?? '0').split(' ')[0]);
  const now = Date.now();
  const inside = pidNamespace(main);
  const rows = processesIn(folders)
    .filter((pid) => pidNamespace(pid) === inside)
    .flatMap((pid) => {
      const values = describeProcess(pid, users, uptime, now);
      return values === undefined ? [] : [{ values }];
    });
  return { titles: TITLES, processes: rows };
}

/** Undefined: it has ended meanwhile. */
function describeProcess(
  pid: number,
  users: ReadonlyMap<string, string>,
  uptime: number,
  now: number,
): readonly string[] | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  const status = readText(`/proc/${pid}/status`);
  if (stat === undefined || status === undefined) return undefined;
  // The second field is the command in brackets and may hold anything, brackets and blanks too.
  const end = stat.lastIndexOf(')');
  const name = stat.slice(stat.indexOf('(') + 1, end);
  const fields = stat.slice(end + 2).split(' ');
  const at = (number: number): number => Number(fields[number - 3]);
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? '?';
  const seconds = Math.floor((at(14) + at(15)) / TICKS);
  const age = Math.max(0, uptime - at(22) / TICKS);
  const words = (readText(`/proc/${pid}/cmdline`) ?? '').split('\0').filter((word, i, all) => i < all.length - 1);
  return [
    users.get(uid) ?? uid,
    String(pid),
    String(at(4)),
    String(age < 1 ? 0 : Math.min(99, Math.floor((seconds / age) * 100))),
    startTime(now - age * 1000, now),
    terminalName(at(7)),
    [seconds / 3600, (seconds / 60) % 60, seconds % 60]
      .map((part) => String(Math.floor(part)).padStart(2, '0'))
      .join(':'),
    // What cannot be shown in a line of a table is shown as a blank.
    (words.length > 0 ? words.join(' ') : `[${name}]`).replace(/[\p{Cc}]/gu, ' '),
  ];
}

/** "14:05" of today, "Nov21" of another day. */
function startTime(at: number, now: number): string {
  const [date, today] = [new Date(at), new Date(now)];
  const two = (value: number): string => String(value).padStart(2, '0');
  if (date.toDateString() === today.toDateString()) return `${two(date.getHours())}:${two(date.getMinutes())}`;
  return `${date.toLocaleString('en', { month: 'short' })}${two(date.getDate())}`;
}

/** Of a device number as in /proc/PID/stat, proc(5). */
function terminalName(device: number): string {
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  if (device === 0) return '?';
  return major >= 136 && major <= 143 ? `pts/${(major - 136) * 256 + minor}` : `${major}/${minor}`;
}

function userNames(): ReadonlyMap<string, string> {
  const lines = (readText('/etc/passwd') ?? '').split('\n').map((line) => line.split(':'));
  return new Map(lines.map(([name = '', , uid = '']) => [uid, name]));
}

function pidNamespace(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return 'gone';
  }
}
