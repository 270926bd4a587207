import { readFileSync, readdirSync } from 'node:fs';
import { median } from '../start/measure.ts';

/** Bytes of a process. */
export interface ProcessMemory {
  /** All pages that are resident: VmRSS, what `ps` and `top` show. Pages that several processes map count in each of them. */
  readonly rss: number;
  /** The same with each page divided by the number of processes that map it. */
  readonly pss: number;
  /** Of `rss`: pages of no file (RssAnon): heaps and stacks. */
  readonly anonymous: number;
}

/** Of every process whose command line `matches`. */
export function memoryOf(matches: (command: string) => boolean): readonly ProcessMemory[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      if (!matches(command)) return [];
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      const bytes = (text: string, key: string): number =>
        Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
      return [{ rss: bytes(status, 'VmRSS'), pss: bytes(rollup, 'Pss'), anonymous: bytes(status, 'RssAnon') }];
    } catch {
      // It has just ended.
      return [];
    }
  });
}

export function sum(of: readonly ProcessMemory[]): ProcessMemory {
  const total = (key: keyof ProcessMemory): number => of.reduce((bytes, memory) => bytes + memory[key], 0);
  return { rss: total('rss'), pss: total('pss'), anonymous: total('anonymous') };
}

export function middle(of: readonly ProcessMemory[]): ProcessMemory {
  const half = (key: keyof ProcessMemory): number => (of.length === 0 ? 0 : median(of.map((memory) => memory[key])));
  return { rss: half('rss'), pss: half('pss'), anonymous: half('anonymous') };
}
