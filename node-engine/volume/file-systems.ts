import { readFileSync, realpathSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { unescapeField } from './mount-points.ts';

/** File systems that one machine alone writes to (proc_filesystems(5)); every other one may be another machine's too. */
const LOCAL_TYPES: ReadonlySet<string> = new Set(
  (
    'ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs jfs reiserfs nilfs2 vfat msdos exfat ntfs ntfs3 hfsplus udf iso9660 squashfs erofs ' +
    'tmpfs ramfs overlay aufs fuseblk devtmpfs devpts proc sysfs cgroup cgroup2 securityfs debugfs tracefs bpf mqueue hugetlbfs ' +
    'pstore configfs efivarfs nsfs autofs binfmt_misc fusectl fuse.lxcfs rpc_pipefs selinuxfs nfsd'
  ).split(' '),
);

/** Whether a file system of that type is this machine's alone. */
export const isLocalType = (type: string): boolean => LOCAL_TYPES.has(type);

/**
 * Types of the file systems that a path lies on and that are mounted below it, as this process sees them: a bind mount has them all.
 * @param path absolute, without links
 */
export function fileSystemsOf(
  path: string,
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): readonly string[] {
  const below = new Map<string, string>();
  let best = { length: -1, type: '' };
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const point = unescapeField(before.split(' ')[4] ?? '');
    const type = after.split(' ')[0] ?? '';
    if (point !== path && (path === '/' ? point !== '' : point.startsWith(`${path}/`))) below.set(point, type);
    if (point === '' || !(path === point || point === '/' || path.startsWith(`${point}/`))) continue;
    // Of several mounts on one point the last one is seen.
    if (point.length >= best.length) best = { length: point.length, type };
  }
  return [best.type, ...below.values()];
}

/** Whether what lies at a path can be written by this machine alone; a path that is still to be made is judged by its folder. */
export function isLocalPath(path: string): boolean {
  for (let known = path; ; known = dirname(known)) {
    try {
      return fileSystemsOf(realpathSync(known)).every(isLocalType);
    } catch {
      if (known === dirname(known)) return false;
    }
  }
}

/** Whether there is a file or folder at a path, at the end of all links. */
export const pathExists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
