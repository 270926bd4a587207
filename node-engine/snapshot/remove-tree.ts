import fs from 'node:fs';
import { TsswarmError, errnoOf } from '../../base/errors.ts';

/**
 * Removes a directory with all its content and never anything that is mounted in it: a leaked mount of /proc or of a
 * user's directory must survive. Not existing is success.
 * @param path absolute, without symbolic links
 * @throws IN_USE naming the mount point, when something is mounted at or below the path
 */
export function removeTree(path: string): void {
  const root = fs.lstatSync(path, { throwIfNoEntry: false });
  if (root === undefined) return;
  refuseMounts(path);
  if (!root.isDirectory()) return fs.unlinkSync(path);
  removeDirectory(Buffer.from(path), root.dev);
}

/**
 * Whether a directory has at most `most` entries, in all its levels: removing it is a matter of a millisecond then. What is
 * not there counts as small, what cannot be looked at as large.
 */
export function isSmallTree(path: string, most: number): boolean {
  let left = most;
  const count = (folder: Buffer): boolean => {
    const entries = fs.readdirSync(folder, { withFileTypes: true, encoding: 'buffer' });
    left -= entries.length;
    if (left < 0) return false;
    return entries.every((entry) => !entry.isDirectory() || count(below(folder, entry.name)));
  };
  try {
    return count(Buffer.from(path));
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}

const below = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, Buffer.from('/'), name]);

function removeDirectory(path: Buffer, device: number): void {
  let entries: fs.Dirent<Buffer>[];
  try {
    entries = fs.readdirSync(path, { withFileTypes: true, encoding: 'buffer' });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const entry of entries) {
    const child = below(path, entry.name);
    if (!entry.isDirectory()) {
      fs.rmSync(child, { force: true });
      continue;
    }
    // The mount table was looked at before; this catches what was mounted since, unless it is of the same file system.
    const stat = fs.lstatSync(child, { throwIfNoEntry: false });
    if (stat !== undefined && stat.dev !== device) throw mounted(child.toString());
    removeDirectory(child, device);
  }
  fs.rmdirSync(path);
}

function refuseMounts(path: string): void {
  const below = mountPoints(fs.readFileSync('/proc/self/mountinfo', 'latin1')).find(
    (mount) => mount === path || mount.startsWith(`${path}/`),
  );
  if (below !== undefined) throw mounted(below);
}

function mounted(mountPoint: string): TsswarmError {
  return new TsswarmError('IN_USE', `removing the directory of "${mountPoint}": something is mounted there`, {
    hint: `unmount it first: umount "${mountPoint}"`,
  });
}

/** The mount points of a mountinfo file (proc_pid_mountinfo(5)): field 5, with \040-style escapes resolved. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const field = (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(parseInt(octal, 8)),
      );
      return Buffer.from(field, 'latin1').toString();
    });
}
