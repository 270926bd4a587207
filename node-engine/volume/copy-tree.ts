import {
  constants,
  copyFileSync,
  lchownSync,
  linkSync,
  chmodSync,
  mkdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import type { LayerView, ViewedFile } from './layer-view.ts';

/** The system calls that Node lacks. */
export interface CopyCalls {
  mknod(path: Buffer, mode: number, major: number, minor: number): void;
  lsetxattr(path: Buffer, name: string, value: Uint8Array): void;
  lgetxattr(path: Buffer, name: string): Uint8Array | undefined;
  llistxattr(path: Buffer): readonly string[];
  lutimes(path: Buffer, accessNs: bigint, modifyNs: bigint): void;
}

/** Files up to this size are copied in place; larger ones on another thread. */
const SMALL_BYTES = 64n * 1024n;
const SLASH = Buffer.from('/');

/**
 * Copies what a view shows below `from` into the existing, empty directory `target`: owner, mode, times, attributes, links,
 * devices. `target` itself takes owner, mode and times of `from`.
 */
export async function copyTree(view: LayerView, from: ViewedFile, target: Buffer, calls: CopyCalls): Promise<void> {
  const links = new Map<string, Buffer>();
  const copyDirectory = async (directory: ViewedFile, into: Buffer): Promise<void> => {
    for (const [name, file] of view.children(directory)) {
      const path = Buffer.concat([into, SLASH, name]);
      if (file.stat.isDirectory()) {
        mkdirSync(path, 0o700);
        await copyDirectory(file, path);
      } else {
        await copyOther(file, path);
      }
    }
    copyMetadata(directory, into, calls);
  };
  const copyOther = async (file: ViewedFile, path: Buffer): Promise<void> => {
    const { stat } = file;
    const key = `${stat.dev}:${stat.ino}`;
    const linked = stat.nlink > 1n ? links.get(key) : undefined;
    if (linked !== undefined) return linkSync(linked, path);
    if (stat.isSymbolicLink()) symlinkSync(readlinkSync(file.path, { encoding: 'buffer' }), path);
    else if (!stat.isFile()) calls.mknod(path, Number(stat.mode), major(stat.rdev), minor(stat.rdev));
    else if (stat.size <= SMALL_BYTES) copyFileSync(file.path, path, constants.COPYFILE_FICLONE);
    else await copyFile(file.path, path, constants.COPYFILE_FICLONE);
    copyMetadata(file, path, calls);
    if (stat.nlink > 1n) links.set(key, path);
  };
  await copyDirectory(from, target);
}

/** Owner before mode, for chown clears set-id bits and capabilities; times last. */
function copyMetadata({ path: from, stat }: ViewedFile, to: Buffer, calls: CopyCalls): void {
  lchownSync(to, Number(stat.uid), Number(stat.gid));
  if (!stat.isSymbolicLink()) chmodSync(to, Number(stat.mode & 0o7777n));
  for (const name of calls.llistxattr(from)) {
    if (name.startsWith('trusted.overlay.')) continue;
    const value = calls.lgetxattr(from, name);
    if (value !== undefined) calls.lsetxattr(to, name, value);
  }
  calls.lutimes(to, stat.atimeNs, stat.mtimeNs);
}

/** As glibc's gnu_dev_major: 12 bits, with the upper 20 above the minor's. */
function major(rdev: bigint): number {
  return Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n));
}

function minor(rdev: bigint): number {
  return Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n));
}
