import fs from 'node:fs';
import { dirname } from 'node:path';
import { TsswarmError, errnoOf, isTsswarmError, messageOf } from '../../base/errors.ts';

/** "1.5 MB", as Docker counts: powers of 1000. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** What was being written, for a message about a full disk. */
export interface DiskDemand {
  /** The action: `pulling "docker.io/library/x:latest"`. */
  readonly action: string;
  /** Directory that was written to. */
  readonly directory: string;
  /** Bytes that it takes at least; 0: unknown. */
  readonly neededBytes: number;
}

/**
 * The error to throw for one of a disk: a full one becomes DISK_FULL and says where, how much was needed and how much is
 * left; ours stay; other system errors that come of an archive's odd content (a name too long) become CORRUPT.
 */
export function diskError(error: unknown, demand: DiskDemand): unknown {
  if (isTsswarmError(error)) return error;
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    const needed = demand.neededBytes > 0 ? `, ${formatBytes(demand.neededBytes)} were needed` : '';
    const left = freeBytes(demand.directory);
    const free = left === undefined ? '' : ` (${formatBytes(left)} left)`;
    return new TsswarmError(
      'DISK_FULL',
      `${demand.action}: no space left in "${demand.directory}"${free}${needed}; what was written of it has been removed`,
      { cause: error, hint: 'remove images that are not used or give the state directory a larger disk' },
    );
  }
  if (errno === 'ENAMETOOLONG' || errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'EEXIST' || errno === 'EINVAL')
    return new TsswarmError('CORRUPT', `${demand.action}: an entry cannot be unpacked: ${messageOf(error)}`, {
      cause: error,
    });
  if (errno === 'EPERM' || errno === 'EACCES')
    return new TsswarmError('PERMISSION_DENIED', `${demand.action}: ${messageOf(error)}`, {
      cause: error,
      hint: 'the engine must run as root with CAP_MKNOD, CAP_CHOWN and CAP_SYS_ADMIN',
    });
  return error;
}

/** Bytes free for root on the file system of a directory (or of the nearest parent that exists). */
export function freeBytes(directory: string): number | undefined {
  for (let at = directory; ; at = dirname(at)) {
    try {
      const { bfree, bsize } = fs.statfsSync(at);
      return bfree * bsize;
    } catch {
      if (at === dirname(at)) return undefined;
    }
  }
}
