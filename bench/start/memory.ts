import { readFileSync, readdirSync } from 'node:fs';

/** Resident bytes of every process whose command line `matches`. */
export function rssOf(matches: (command: string) => boolean): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      return rss !== undefined && matches(command) ? [Number(rss) * 1024] : [];
    } catch {
      return [];
    }
  });
}
