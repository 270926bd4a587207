import type { StatsSample, Task } from '../../../proto/types/index.ts';
import type { Column } from '../../render/format.ts';
import { formatMemory, formatSize } from '../../render/index.ts';

/** The columns of `docker stats`, and their names in templates. */
export const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'CONTAINER ID' },
  { name: 'Container', heading: 'CONTAINER', hidden: true },
  { name: 'Name', heading: 'NAME' },
  { name: 'CPUPerc', heading: 'CPU %' },
  { name: 'MemUsage', heading: 'MEM USAGE / LIMIT' },
  { name: 'MemPerc', heading: 'MEM %' },
  { name: 'NetIO', heading: 'NET I/O' },
  { name: 'BlockIO', heading: 'BLOCK I/O' },
  { name: 'PIDs', heading: 'PIDS' },
];

/** What is known of a container: its newest sample, and the one before, which a share of the processors needs. */
export interface Samples {
  readonly before: StatsSample | undefined;
  readonly now: StatsSample | undefined;
}

/** A row of the table; "--" for what is not known (yet), as Docker has it. */
export function usageRow(
  { name, status }: Pick<Task, 'name' | 'status'>,
  { before, now }: Samples,
  trunc: boolean,
): Readonly<Record<string, string>> {
  const id = trunc ? status.containerId.slice(0, 12) : status.containerId;
  const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;
  const pair = (a: string, b: string): string => `${a} / ${b}`;
  if (now === undefined) {
    const none = pair('--', '--');
    return {
      BlockIO: none,
      CPUPerc: '--',
      Container: id,
      ID: id,
      MemPerc: '--',
      MemUsage: none,
      Name: name,
      NetIO: none,
      PIDs: '--',
    };
  }
  const ms = before === undefined ? 0 : now.atMs - before.atMs;
  // A container that was started again counts from zero.
  const cpuMs = Math.max(0, now.cpuNs - (before?.cpuNs ?? 0)) / 1e6;
  return {
    BlockIO: pair(formatSize(now.blockReadBytes), formatSize(now.blockWrittenBytes)),
    CPUPerc: percent(ms > 0 ? cpuMs / ms : 0),
    Container: id,
    ID: id,
    MemPerc: percent(now.memoryLimitBytes > 0 ? now.memoryBytes / now.memoryLimitBytes : 0),
    MemUsage: pair(formatMemory(now.memoryBytes), formatMemory(now.memoryLimitBytes)),
    Name: name,
    NetIO: pair(formatSize(now.networkReceivedBytes), formatSize(now.networkSentBytes)),
    PIDs: String(now.processes),
  };
}
