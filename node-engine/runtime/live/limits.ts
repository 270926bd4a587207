import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TsswarmError, errnoOf, messageOf } from '../../../base/errors.ts';
import type { ResourceLimits } from '../../../proto/types/index.ts';
import { resolveResources } from '../resources.ts';
import { blockIoChanges } from './block-io.ts';

/** Shares of a cgroup that nobody has given any (Documentation/scheduler/sched-design-CFS.rst of the kernel). */
const DEFAULT_SHARES = 1024;
/** The same in version 2 (Documentation/admin-guide/cgroup-v2.rst). */
const DEFAULT_WEIGHT = 100;
/** The kernel counts memory in pages, of at most this many bytes on any machine that we run on. */
const LARGEST_PAGE = 65_536;
/** Version 1 says "no limit" as the greatest number of bytes in whole pages. */
const NO_LIMIT = 2 ** 62;

/** An empty set: version 2 uses what the group above has, whatever that comes to be. */
const ALL_CPUS = '\n';

/** The files of a container's control groups, whichever hierarchy they are in. */
export interface ControlFiles {
  /** Undefined: no hierarchy has such a file. */
  read(file: string): string | undefined;
  /** What the group above says. */
  readAbove(file: string): string | undefined;
  write(file: string, value: string): void;
}

/** A file of a control group that says something else than it shall: "pids.max", or a line of it: "io.max 8:0". */
export interface LimitChange {
  readonly file: string;
  /** To be written. */
  readonly text: string;
  readonly expected: string;
  readonly found: string;
}

/**
 * Makes the limits of a running container what they shall be; one that is not asked for is lifted. Files that this kernel lacks are
 * passed over: the launcher warned of them at the start.
 * @throws INVALID_INPUT for limits that the kernel would refuse, RUNTIME_FAILED when it refuses others, or memory is in use
 */
export function setLimits(files: ControlFiles, limits: ResourceLimits, name: string): void {
  makeRoom(files, resolveResources(limits, [], false).memory?.limit, name);
  // Where a file has a line for each device, the change is named after both.
  for (const { file, text } of limitChanges(files, limits)) {
    try {
      write(files, file.split(' ')[0] ?? file, text, name);
    } catch (error) {
      // Linux 6.1 empties the set of no group that has processes: it gets all that there are.
      if (file !== 'cpuset.cpus' || text !== ALL_CPUS || errnoOf((error as Error).cause) !== 'ENOSPC') throw error;
      write(files, file, cpusAbove(files), name);
    }
  }
}

/**
 * What has to be written to make the limits what they shall be, in the order that the kernel allows.
 * @throws INVALID_INPUT for limits that the kernel would refuse
 */
export function limitChanges(files: ControlFiles, limits: ResourceLimits): readonly LimitChange[] {
  const { memory, cpu, pids } = resolveResources(limits, [], false);
  // Version 1 and version 2 have no file of the same name here, so each write finds its own.
  const wanted: readonly (readonly [file: string, text: string])[] = [
    ['pids.max', String(pids?.limit ?? 'max')],
    ['cpu.shares', String(cpu?.shares ?? DEFAULT_SHARES)],
    ['cpu.weight', String(cpu?.shares === undefined ? DEFAULT_WEIGHT : weightOf(cpu.shares))],
    ['cpu.cfs_quota_us', String(cpu?.quota ?? -1)],
    ['cpu.max', `${cpu?.quota ?? 'max'} ${cpu?.period ?? 100_000}`],
    ...cpusOf(files, cpu?.cpus ?? ''),
    ...memoryV1(files, memory?.limit ?? -1, memory?.swap ?? -1),
    ['memory.max', String(memory?.limit ?? 'max')],
    ['memory.swap.max', swapV2(memory?.limit, memory?.swap)],
  ];
  const changes = wanted.flatMap(([file, text]) => {
    const found = files.read(file)?.trim();
    if (found === undefined || says(found, text.trim())) return [];
    if (text === ALL_CPUS && found === cpusAbove(files)) return [];
    return [{ file, text, expected: text.trim(), found }];
  });
  return [...changes, ...blockIoChanges(files, limits.blockIo)];
}

/** Whether a file that shows this was told that: the kernel has its own words for no limit, counts pages, and sorts sets. */
function says(found: string, wanted: string): boolean {
  if (found === wanted) return true;
  if (wanted === '-1') return Number(found) >= NO_LIMIT;
  if (/^\d[\d,-]*$/.test(found) && /[,-]/.test(found + wanted)) return numbersIn(found) === numbersIn(wanted);
  const [shown, told] = [Number(found), Number(wanted)];
  return told >= LARGEST_PAGE && shown <= told && told - shown < LARGEST_PAGE && shown % 4096 === 0;
}

/** "0-2,5" as "0,1,2,5". */
function numbersIn(set: string): string {
  const numbers = set.split(',').flatMap((part) => {
    const [first = NaN, last = first] = part.split('-').map(Number);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
  });
  return [...new Set(numbers)].sort((a, b) => a - b).join(',');
}

/** As the launcher converts (cgroup-v2.c). */
const weightOf = (shares: number): number => 1 + Math.floor(((shares - 2) * 9999) / 262_142);

const cpusAbove = (files: ControlFiles): string => files.readAbove('cpuset.cpus.effective')?.trim() ?? '';

/** Without an own set those of the group above are used: version 1 has to be told them, version 2 takes them for an empty set. */
function cpusOf(files: ControlFiles, cpus: string): readonly (readonly [file: string, text: string])[] {
  const isV2 = files.read('cpuset.cpus.effective') !== undefined && files.read('cpuset.cpu_exclusive') === undefined;
  const wanted = cpus !== '' ? cpus : isV2 ? ALL_CPUS : (files.readAbove('cpuset.cpus')?.trim() ?? '');
  return wanted === '' ? [] : [['cpuset.cpus', wanted]];
}

/** Memory and swap together may never be below memory alone: what grows goes first. */
function memoryV1(
  files: ControlFiles,
  limit: number,
  both: number,
): readonly (readonly [file: string, text: string])[] {
  const now = Number(files.read('memory.memsw.limit_in_bytes') ?? NaN);
  const grows = both === -1 || both > now;
  const memory = ['memory.limit_in_bytes', String(limit)] as const;
  const together = ['memory.memsw.limit_in_bytes', String(both)] as const;
  return grows ? [together, memory] : [memory, together];
}

/** Version 2 counts swap alone. */
const swapV2 = (limit: number | undefined, both: number | undefined): string =>
  limit === undefined || both === undefined || both === -1 ? 'max' : String(both - limit);

/** Version 2 kills where more is used than is allowed from now on: it is asked to give memory back before. */
function makeRoom(files: ControlFiles, limit: number | undefined, name: string): void {
  if (limit === undefined || files.read('memory.max') === undefined) return;
  const excess = used(files) - limit;
  if (excess > 0) tryTo(() => files.write('memory.reclaim', String(excess)));
  if (used(files) > limit) throw inUse(name, limit, used(files));
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
    // The file is there for all devices; who shares one out by weights is chosen for each.
    if (errnoOf(cause) === 'ENOTSUP' && file.endsWith('.weight'))
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `weighing block I/O of container "${name}" by "${value}": nothing weighs at this device`,
        {
          hint: file === 'io.weight' ? 'enable it in "io.cost.qos" of the root group' : 'make "bfq" its scheduler',
          cause,
        },
      );
    throw new TsswarmError(
      'RUNTIME_FAILED',
      `writing "${value.trim()}" to "${file}" of container "${name}": ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** In which hierarchy files are, by their number in the list; -1: in none. The same for every container of a node. */
export type FilePlaces = Map<string, number>;

/**
 * @param folders the container's group in each hierarchy
 * @param places what is known of where files are; what is found is put down there
 */
export function controlFiles(folders: readonly string[], places: FilePlaces = new Map()): ControlFiles {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      // EOPNOTSUPP: swap is not counted here.
      if (['ENOENT', 'ENOTDIR', 'EOPNOTSUPP', 'EACCES', 'ENODEV'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  };
  const folderOf = (file: string): string | undefined => {
    let place = places.get(file);
    if (place === undefined) {
      place = folders.findIndex((one) => existsSync(join(one, file)));
      places.set(file, place);
    }
    return folders[place];
  };
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
      // Some can be written and not read.
      const opened = openSync(join(folder, file), constants.O_WRONLY);
      try {
        writeSync(opened, value);
      } finally {
        closeSync(opened);
      }
    },
  };
}
