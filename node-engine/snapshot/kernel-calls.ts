import type { PathBytes } from './path-bytes.ts';

/**
 * The few file system calls that Node lacks and that snapshots need. The native addon has them; this is the part of it
 * that this room asks for. Every call throws an error with `code` set to the errno name.
 */
export interface KernelCalls {
  /** mknod(2). @param mode type and permission bits, e.g. S_IFCHR | 0o666 */
  mknod(path: PathBytes, mode: number, major: number, minor: number): void;
  /** lsetxattr(2). */
  lsetxattr(path: PathBytes, name: string, value: Uint8Array): void;
  /** lgetxattr(2); undefined when the file has no attribute of that name. */
  lgetxattr(path: PathBytes, name: string): Uint8Array | undefined;
  /** llistxattr(2). */
  llistxattr(path: PathBytes): readonly string[];
  /** utimensat(2) with AT_SYMLINK_NOFOLLOW; nanoseconds since the epoch. */
  lutimes(path: PathBytes, atimeNs: bigint, mtimeNs: bigint): void;
}
