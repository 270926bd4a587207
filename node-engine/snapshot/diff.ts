import fs from 'node:fs';
import { open } from 'node:fs/promises';
import { TsswarmError } from '../../base/errors.ts';
import { OPAQUE_XATTR } from './lower-lookup.ts';
import { kernelCalls } from './native-calls.ts';
import type { TarEntry, TarEntryType } from './tar-entry.ts';
import { TAR_END, tarHeader, tarPadding } from './tar-writer.ts';

const READ_BYTES = 256 * 1024;
const EMPTY = Buffer.alloc(0);
const SLASH = Buffer.from('/');

/** How a writable layer is made into a tar. */
export interface DiffOptions {
  /** Times after this one (nanoseconds since the epoch) become it, for builds that shall repeat bit by bit (SOURCE_DATE_EPOCH). */
  readonly latestMtimeNs?: bigint;
}

/**
 * A writable layer (an overlay's upper directory) as a layer's tar: deleted files become `.wh.` entries, opaque
 * directories `.wh..wh..opq` (OCI image-spec, layer.md), files with several names one file and hard links. Entries are
 * ordered by their names' bytes, so that the same content gives the same archive. Sockets are left out, as Docker does.
 * The root directory is written when it is not root's with mode 0755.
 * @throws system errors of reading
 */
export async function* diffToTar(upper: string, options: DiffOptions = {}): AsyncGenerator<Uint8Array, void> {
  const links = new Map<string, Buffer>();
  const walk = new Walk(Buffer.from(upper), options, links);
  const root = fs.lstatSync(upper, { bigint: true });
  if (root.uid !== 0n || root.gid !== 0n || (root.mode & 0o7777n) !== 0o755n)
    yield tarHeader(walk.entry(Buffer.from('./'), Buffer.from(upper), root, 'dir'));
  yield* walk.directory(Buffer.from(upper), EMPTY);
  yield TAR_END;
}

class Walk {
  readonly #root: Buffer;
  readonly #options: DiffOptions;
  /** Device and inode of files with several names → the name that was written first. */
  readonly #links: Map<string, Buffer>;

  constructor(root: Buffer, options: DiffOptions, links: Map<string, Buffer>) {
    this.#root = root;
    this.#options = options;
    this.#links = links;
  }

  async *directory(path: Buffer, prefix: Buffer): AsyncGenerator<Uint8Array, void> {
    const names = fs.readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare);
    for (const name of names) {
      const child = Buffer.concat([path, SLASH, name]);
      const archived = Buffer.concat([prefix, name]);
      const stat = fs.lstatSync(child, { bigint: true });
      if (stat.isDirectory()) {
        const inside = Buffer.concat([archived, SLASH]);
        yield tarHeader(this.entry(inside, child, stat, 'dir'));
        if (kernelCalls.lgetxattr(child, OPAQUE_XATTR)?.toString() === 'y')
          yield tarHeader(this.#marker(Buffer.concat([inside, Buffer.from('.wh..wh..opq')])));
        yield* this.directory(child, inside);
      } else if (stat.isCharacterDevice() && stat.rdev === 0n) {
        yield tarHeader(this.#marker(Buffer.concat([prefix, Buffer.from('.wh.'), name])));
      } else if (!stat.isSocket()) {
        yield* this.#leaf(archived, child, stat);
      }
    }
  }

  async *#leaf(archived: Buffer, path: Buffer, stat: fs.BigIntStats): AsyncGenerator<Uint8Array, void> {
    const inode = `${stat.dev}:${stat.ino}`;
    const first = stat.nlink > 1n ? this.#links.get(inode) : undefined;
    if (first !== undefined) {
      yield tarHeader({ ...this.entry(archived, path, stat, 'hardlink'), linkPath: first, xattrs: undefined });
      return;
    }
    if (stat.nlink > 1n) this.#links.set(inode, archived);
    const type = typeOf(stat);
    yield tarHeader(this.entry(archived, path, stat, type));
    if (type === 'file' && stat.size > 0n) yield* content(path, Number(stat.size));
  }

  entry(archived: Buffer, path: Buffer, stat: fs.BigIntStats, type: TarEntryType): TarEntry {
    const device = type === 'char' || type === 'block';
    return {
      type,
      path: archived,
      linkPath: type === 'symlink' ? fs.readlinkSync(path, { encoding: 'buffer' }) : EMPTY,
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: type === 'file' ? Number(stat.size) : 0,
      mtimeNs: this.#mtime(stat.mtimeNs),
      major: device ? deviceMajor(stat.rdev) : 0,
      minor: device ? deviceMinor(stat.rdev) : 0,
      xattrs: readXattrs(path),
    };
  }

  #marker(path: Buffer): TarEntry {
    const nothing = { linkPath: EMPTY, uid: 0, gid: 0, size: 0, mtimeNs: 0n, major: 0, minor: 0, xattrs: undefined };
    return { type: 'file', path, mode: 0, ...nothing };
  }

  #mtime(ns: bigint): bigint {
    const latest = this.#options.latestMtimeNs;
    return latest !== undefined && ns > latest ? latest : ns;
  }
}

/** Exactly `size` bytes, the size that the header has told, even if somebody writes to the file meanwhile. */
async function* content(path: Buffer, size: number): AsyncGenerator<Uint8Array, void> {
  const handle = await open(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    for (let at = 0; at < size;) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size - at));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0)
        throw new TsswarmError('CONFLICT', `reading the file "${path}": it became shorter while it was read`);
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
  yield tarPadding(size);
}

function typeOf(stat: fs.BigIntStats): TarEntryType {
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'char';
  if (stat.isBlockDevice()) return 'block';
  return stat.isFIFO() ? 'fifo' : 'file';
}

function readXattrs(path: Buffer): Map<string, Buffer> | undefined {
  let found: Map<string, Buffer> | undefined;
  for (const name of kernelCalls.llistxattr(path)) {
    if (/^(trusted|user)\.overlay\./.test(name)) continue;
    const value = kernelCalls.lgetxattr(path, name);
    if (value !== undefined) (found ??= new Map<string, Buffer>()).set(name, Buffer.from(value));
  }
  return found;
}

/** makedev(3) of Linux: 12 bits of major and 20 of minor, interleaved. */
function deviceMajor(rdev: bigint): number {
  return Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn));
}

function deviceMinor(rdev: bigint): number {
  return Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn));
}
