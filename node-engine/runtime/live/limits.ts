import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TsswarmError, errnoOf, messageOf } from '../../../base/errors.ts';
import type { ResourceLimits } from '../../../proto/types/index.ts';
import { resolveResources } from '../resources.ts';

/** Shares of a cgroup that nobody has given any (Documentation/scheduler/sched-design-CFS.rst of the kernel). */
const DEFAULT_SHARES = 1024;
/** The same in version 2 (Documentation/admin-guide/cgroup-v2.rst). */
const DEFAULT_WEIGHT = 100;

/** The files of a container's control groups, whichever hierarchy they are in. */
export interface ControlFiles {
  /** Undefined: no hierarchy has such a file. */
  read(file: string): string | undefined;
  /** What the group above says. */
  readAbove(file: string): string | undefined;
  write(file: string, value: string): void;
}

/**
 * Makes the limits of a running container what they shall be; one that is not asked for is lifted. Files that this kernel lacks are
 * passed over: the launcher warned of them at the start.
 * @throws INVALID_INPUT for limits that the kernel would refuse, RUNTIME_FAILED when it refuses others, or memory is in use
 */
export function setLimits(files: ControlFiles, limits: ResourceLimits, name: string): void {
  const { memory, cpu, pids } = resolveResources(limits, [], false);
  const set = (file: string, value: string | number): void => {
    if (files.read(file)?.trim() !== String(value)) write(files, file, String(value), name);
  };
  // Version 1 and version 2 have no file of the same name here, so each write finds its own.
  setOptional(files, 'pids.max', pids?.limit ?? 'max', set);
  setOptional(files, 'cpu.shares', cpu?.shares ?? DEFAULT_SHARES, set);
  setOptional(files, 'cpu.weight', cpu?.shares === undefined ? DEFAULT_WEIGHT : weightOf(cpu.shares), set);
  setOptional(files, 'cpu.cfs_quota_us', cpu?.quota ?? -1, set);
  setOptional(files, 'cpu.max', `${cpu?.quota ?? 'max'} ${cpu?.period ?? 100_000}`, set);
  setCpus(files, cpu?.cpus ?? '', set);
  setMemoryV1(files, memory?.limit ?? -1, memory?.swap ?? -1, set);
  setMemoryV2(files, memory?.limit, memory?.swap, name, set);
}

type Set = (file: string, value: string | number) => void;

function setOptional(files: ControlFiles, file: string, value: string | number, set: Set): void {
  if (files.read(file) !== undefined) set(file, value);
}

/** As the launcher converts (cgroup-v2.c). */
const weightOf = (shares: number): number => 1 + Math.floor(((shares - 2) * 9999) / 262_142);

/** Without an own set those of the group above are used: version 1 has to be told them, version 2 takes them for an empty set. */
function setCpus(files: ControlFiles, cpus: string, set: Set): void {
  const current = files.read('cpuset.cpus');
  if (current === undefined) return;
  const isV2 = files.read('cpuset.cpus.effective') !== undefined && files.read('cpuset.cpu_exclusive') === undefined;
  const wanted = cpus !== '' ? cpus : isV2 ? '\n' : (files.readAbove('cpuset.cpus')?.trim() ?? '');
  if (wanted !== '' && current.trim() !== wanted.trim()) set('cpuset.cpus', wanted);
}

/** Memory and swap together may never be below memory alone: what grows goes first. */
function setMemoryV1(files: ControlFiles, limit: number, both: number, set: Set): void {
  if (files.read('memory.limit_in_bytes') === undefined) return;
  const now = Number(files.read('memory.memsw.limit_in_bytes') ?? NaN);
  const grows = both === -1 || both > now;
  if (grows) setOptional(files, 'memory.memsw.limit_in_bytes', both, set);
  set('memory.limit_in_bytes', limit);
  if (!grows) setOptional(files, 'memory.memsw.limit_in_bytes', both, set);
}

/** Version 2 kills where more is used than is allowed from now on: it is asked to give memory back before. */
function setMemoryV2(
  files: ControlFiles,
  limit: number | undefined,
  both: number | undefined,
  name: string,
  set: Set,
): void {
  if (files.read('memory.max') === undefined) return;
  if (limit !== undefined) {
    const excess = used(files) - limit;
    if (excess > 0) tryTo(() => files.write('memory.reclaim', String(excess)));
    if (used(files) > limit) throw inUse(name, limit, used(files));
  }
  set('memory.max', limit ?? 'max');
  const swap = limit === undefined || both === undefined || both === -1 ? 'max' : both - limit;
  setOptional(files, 'memory.swap.max', swap, set);
}

const used = (files: ControlFiles): number =>
  Number(files.read('memory.current') ?? files.read('memory.usage_in_bytes') ?? 0);

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // An older kernel, or less could be had: the caller looks what came of it.
  }
}

const inUse = (name: string, limit: number | string, usage: number): TsswarmError =>
  new TsswarmError(
    'RUNTIME_FAILED',
    `limiting the memory of container "${name}" to ${limit} bytes: it uses ${usage}, and the kernel cannot take it back`,
    { hint: 'allow more, or let the container be replaced' },
  );

function write(files: ControlFiles, file: string, value: string, name: string): void {
  try {
    files.write(file, value);
  } catch (cause) {
    if (errnoOf(cause) === 'EBUSY' && file.startsWith('memory.')) throw inUse(name, value, used(files));
    throw new TsswarmError(
      'RUNTIME_FAILED',
      `writing "${value.trim()}" to "${file}" of container "${name}": ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** @param folders the container's group in each hierarchy */
export function controlFiles(folders: readonly string[]): ControlFiles {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      // EOPNOTSUPP: swap is not counted here.
      if (['ENOENT', 'ENOTDIR', 'EOPNOTSUPP', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  };
  const folderOf = (file: string): string | undefined => folders.find((one) => read(join(one, file)) !== undefined);
  return {
    read: (file) => {
      const folder = folderOf(file);
      return folder === undefined ? undefined : read(join(folder, file));
    },
    readAbove: (file) => {
      const folder = folderOf(file);
      return folder === undefined ? undefined : read(join(dirname(folder), file));
    },
    write: (file, value) => {
      // memory.reclaim cannot be read.
      const folder = folderOf(file) ?? folderOf('memory.max') ?? '';
      writeFileSync(join(folder, file), value, { flag: 'r+' });
    },
  };
}
