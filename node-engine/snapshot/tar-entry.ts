/** The kinds of tar entries that a layer or an image archive may hold (POSIX pax, ustar; OCI image-spec, layer.md). */
export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'dir' | 'fifo';

/**
 * One entry, with names as bytes: a file name is any bytes but NUL and slash, and extended attributes
 * (`security.capability`) are binary.
 */
export interface TarEntry {
  readonly type: TarEntryType;
  /** As written in the archive: may be absolute or hold "..". The reader does not judge it. */
  readonly path: Buffer;
  /** Target of a symbolic or hard link; empty otherwise. */
  readonly linkPath: Buffer;
  /** Permission bits with setuid, setgid and sticky (0o7777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow; 0 for all but files. */
  readonly size: number;
  /** Nanoseconds since the epoch. */
  readonly mtimeNs: bigint;
  readonly major: number;
  readonly minor: number;
  /** Names without the "SCHILY.xattr." prefix; undefined when there are none. */
  readonly xattrs: ReadonlyMap<string, Buffer> | undefined;
}

/** Size of a tar block: headers and content are padded to it. */
export const BLOCK = 512;

/** Bytes of padding after `size` bytes of content. */
export function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** The sum that a tar header carries: of its bytes, those of the sum itself (148–155) counted as spaces. */
export function headerChecksum(header: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i > 155) sum += header[i] ?? 0;
  return sum;
}
