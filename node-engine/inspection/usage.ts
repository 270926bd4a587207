import { totalmem } from 'node:os';
import { readlinkSync } from 'node:fs';
import type { ContainerUsage } from '../types.ts';
import { readFirst, readText } from './cgroup-files.ts';

/**
 * What a cgroup's files say, of either version (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel).
 * @param folders the container's cgroup in each hierarchy
 * @param pid its main process
 */
export function usageOf(folders: readonly string[], pid: number): ContainerUsage {
  const [networkReceivedBytes, networkSentBytes] = networkOf(pid);
  const [blockReadBytes, blockWrittenBytes] = blocksOf(folders);
  const total = totalmem();
  const limit = Number(readFirst(folders, 'memory.limit_in_bytes', 'memory.max') ?? NaN);
  return {
    cpuNs: cpuOf(folders),
    memoryBytes: memoryOf(folders),
    // "max", and version 1's page-aligned 2^63, are none.
    memoryLimitBytes: Number.isFinite(limit) && limit < total ? limit : total,
    networkReceivedBytes,
    networkSentBytes,
    blockReadBytes,
    blockWrittenBytes,
    processes: Number(readFirst(folders, 'pids.current') ?? 0),
  };
}

function cpuOf(folders: readonly string[]): number {
  const version1 = readFirst(folders, 'cpuacct.usage');
  if (version1 !== undefined) return Number(version1);
  return (field(readFirst(folders, 'cpu.stat') ?? '', 'usage_usec') ?? 0) * 1000;
}

function memoryOf(folders: readonly string[]): number {
  const used = Number(readFirst(folders, 'memory.usage_in_bytes', 'memory.current') ?? 0);
  const stat = readFirst(folders, 'memory.stat') ?? '';
  const cache = field(stat, 'total_inactive_file') ?? field(stat, 'inactive_file') ?? 0;
  return cache < used ? used - cache : used;
}

/** The value behind a name at the beginning of a line. */
function field(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}

function blocksOf(folders: readonly string[]): readonly [read: number, written: number] {
  const version1 = readFirst(folders, 'blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_service_bytes');
  const text = version1 ?? readFirst(folders, 'io.stat') ?? '';
  const sum = (pattern: RegExp): number => [...text.matchAll(pattern)].reduce((all, [, n]) => all + Number(n), 0);
  return version1 === undefined
    ? [sum(/\brbytes=(\d+)/g), sum(/\bwbytes=(\d+)/g)]
    : [sum(/ Read (\d+)$/gm), sum(/ Write (\d+)$/gm)];
}

/** Sums of /proc/PID/net/dev, which is that of the process's network namespace. */
function networkOf(pid: number): readonly [received: number, sent: number] {
  if (namespaceOf(pid) === namespaceOf('self')) return [0, 0];
  let [received, sent] = [0, 0];
  for (const line of (readText(`/proc/${pid}/net/dev`) ?? '').split('\n')) {
    const [name, numbers] = line.split(':');
    if (numbers === undefined || name?.trim() === 'lo') continue;
    const values = numbers.trim().split(/\s+/).map(Number);
    received += values[0] ?? 0;
    sent += values[8] ?? 0;
  }
  return [received, sent];
}

function namespaceOf(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}
