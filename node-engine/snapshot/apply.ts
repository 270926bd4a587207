import fs from 'node:fs';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { KernelCalls } from './kernel-calls.ts';
import { LayerTree, joinPath, newDir, splitPath } from './layer-tree.ts';
import type { DirNode, Place, TreeNode } from './layer-tree.ts';
import { OPAQUE_XATTR, lowerEntry } from './lower-lookup.ts';
import type { LowerEntry } from './lower-lookup.ts';
import { pathOf } from './path-bytes.ts';
import type { PathBytes } from './path-bytes.ts';
import type { TarEntry } from './tar-entry.ts';

/** Bounds against bombs. */
export interface ApplyLimits {
  /** Bytes of unpacked content. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

export const DEFAULT_LIMITS: ApplyLimits = { maxBytes: 256 * 2 ** 30, maxEntries: 4_000_000 };

/** What has been unpacked. */
export interface ApplySummary {
  /** Sum of the files' sizes. */
  readonly sizeBytes: number;
  readonly entries: number;
  /** The layer has an entry for its root directory, so that its owner and mode are meant. */
  readonly hasRoot: boolean;
  /** Attributes were taken or files linked from lower layers: what came out depends on them. */
  readonly usedLower: boolean;
}

/** Thrown when a layer cannot be unpacked alone: it adds to directories, or links to files, of the layers beneath. */
export class NeedsLowerLayers extends Error {
  override readonly name = 'NeedsLowerLayers';
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const META = '.wh..wh.';
const YES = Buffer.from('y');
const { S_IFCHR, S_IFBLK, S_IFIFO, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;

/**
 * Unpacks one layer into an empty directory as a lower directory of overlayfs (OCI image-spec, layer.md; the kernel's
 * overlayfs.rst): `.wh.x` becomes a character device 0:0, `.wh..wh..opq` the attribute trusted.overlay.opaque. Calls are
 * synchronous, for they are many and small (a file is five of them): this runs in a worker thread.
 */
export class LayerApplier {
  readonly #root: string;
  readonly #calls: KernelCalls;
  readonly #lower: readonly string[] | undefined;
  readonly #limits: ApplyLimits;
  readonly #tree = new LayerTree((path, replaces) => this.#makeMissingDir(path, replaces));
  #fd = -1;
  #current: { readonly entry: TarEntry; readonly path: PathBytes } | undefined;
  #sizeBytes = 0;
  #entries = 0;
  #hasRoot = false;
  #usedLower = false;

  /**
   * @param root existing empty directory that nobody else writes to
   * @param lower the layers beneath, top-most first ([]: there are none); undefined: unknown, a layer that needs them
   *   ends with {@link NeedsLowerLayers}
   */
  constructor(root: string, calls: KernelCalls, lower: readonly string[] | undefined, limits = DEFAULT_LIMITS) {
    this.#root = root;
    this.#calls = calls;
    this.#lower = lower;
    this.#limits = limits;
  }

  /** Begins an entry; its content follows through {@link data} and {@link end}. @throws CORRUPT, TOO_LARGE, system errors */
  begin(entry: TarEntry): void {
    this.#sizeBytes += entry.size;
    if (++this.#entries > this.#limits.maxEntries) throw tooLarge(`more than ${this.#limits.maxEntries} entries`);
    if (this.#sizeBytes > this.#limits.maxBytes) throw tooLarge(`more than ${this.#limits.maxBytes} bytes unpacked`);
    const parts = splitPath(entry.path.toString('latin1'));
    const name = parts.at(-1);
    if (name === undefined) return this.#applyRoot(entry);
    if (name.startsWith(WHITEOUT)) return this.#applyWhiteout(parts, name);
    this.#applyEntry(entry, this.#tree.place(parts));
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; this.#fd >= 0 && at < bytes.length;) at += fs.writeSync(this.#fd, bytes, at, bytes.length - at);
  }

  end(): void {
    if (this.#fd < 0 || this.#current === undefined) return;
    const { entry, path } = this.#current;
    // chown first: it clears setuid bits and capabilities.
    if (entry.uid !== 0 || entry.gid !== 0) fs.fchownSync(this.#fd, entry.uid, entry.gid);
    fs.fchmodSync(this.#fd, entry.mode);
    this.#setXattrs(entry, path);
    const whole = entry.mtimeNs % 1_000_000_000n === 0n;
    const seconds = Number(entry.mtimeNs / 1_000_000_000n);
    // A double holds whole seconds exactly, fractions of them only to 200 ns.
    if (whole) fs.futimesSync(this.#fd, seconds, seconds);
    this.#close();
    if (!whole) this.#calls.lutimes(path, entry.mtimeNs, entry.mtimeNs);
  }

  /** Sets the times of directories, which every file put in had changed. */
  finish(): ApplySummary {
    this.#setDirTimes(this.#tree.root, '');
    return {
      sizeBytes: this.#sizeBytes,
      entries: this.#entries,
      hasRoot: this.#hasRoot,
      usedLower: this.#usedLower,
    };
  }

  /** @throws TOO_LARGE always: the stream is longer than any layer within the limits can be */
  refuseSize(): never {
    throw tooLarge(`more than ${this.#limits.maxBytes} bytes unpacked`);
  }

  /** Lets go of an open file after a failure. */
  abandon(): void {
    this.#close();
  }

  #applyRoot(entry: TarEntry): void {
    if (entry.type !== 'dir') throw new TsswarmError('CORRUPT', `applying a layer: its root is a ${entry.type}`);
    this.#hasRoot = true;
    this.#setAttributes(entry, this.#root);
    this.#tree.root.mtimeNs = entry.mtimeNs;
  }

  #applyWhiteout(parts: readonly string[], name: string): void {
    // A pax path may hold what no file name can; everything below is checked like any other name.
    const { parent, parentPath } = this.#tree.place(parts);
    if (name === OPAQUE) return this.#calls.lsetxattr(this.#path(parentPath), OPAQUE_XATTR, YES);
    if (name.startsWith(META)) return; // aufs' own book-keeping (.wh..wh.plnk, .wh..wh.aufs)
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new TsswarmError('CORRUPT', `applying the entry "${parts.join('/')}": a whiteout without a name`);
    const path = joinPath(parentPath, hidden);
    const present = parent.children.get(hidden);
    // A whiteout hides lower layers only: what this layer itself has stays, and a directory becomes opaque.
    if (present?.kind === 'dir') this.#calls.lsetxattr(this.#path(path), OPAQUE_XATTR, YES);
    if (present !== undefined) return;
    this.#calls.mknod(this.#path(path), S_IFCHR, 0, 0);
    parent.children.set(hidden, { kind: 'whiteout' });
  }

  #applyEntry(entry: TarEntry, place: Place): void {
    const relative = joinPath(place.parentPath, place.name);
    const path = this.#path(relative);
    const present = place.parent.children.get(place.name);
    if (entry.type === 'dir') return this.#applyDir(entry, place, path, present);
    const source = entry.type === 'hardlink' ? this.#linkSource(entry) : '';
    if (source === relative) return; // a link to itself is what is there
    if (present !== undefined) removePresent(path, present);
    place.parent.children.set(place.name, nodeOf(entry));
    switch (entry.type) {
      case 'file':
        this.#fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        this.#current = { entry, path };
        return;
      case 'hardlink':
        return this.#link(source, path, place);
      case 'symlink':
        fs.symlinkSync(pathOf(entry.linkPath.toString('latin1')), path);
        break;
      case 'char':
      case 'block':
        this.#calls.mknod(path, (entry.type === 'char' ? S_IFCHR : S_IFBLK) | entry.mode, entry.major, entry.minor);
        break;
      case 'fifo':
        this.#calls.mknod(path, S_IFIFO | entry.mode, 0, 0);
    }
    this.#setAttributes(entry, path);
    this.#calls.lutimes(path, entry.mtimeNs, entry.mtimeNs);
  }

  #applyDir(entry: TarEntry, place: Place, path: PathBytes, present: TreeNode | undefined): void {
    let node = present?.kind === 'dir' ? present : undefined;
    if (node === undefined) {
      if (present !== undefined) removePresent(path, present);
      fs.mkdirSync(path);
      node = newDir();
      place.parent.children.set(place.name, node);
      if (present?.kind === 'whiteout') this.#calls.lsetxattr(path, OPAQUE_XATTR, YES);
    }
    node.mtimeNs = entry.mtimeNs;
    this.#setAttributes(entry, path);
  }

  /** The path, below the root, that a hard link names. */
  #linkSource(entry: TarEntry): string {
    const parts = splitPath(entry.linkPath.toString('latin1'));
    if (parts.length === 0) throw new TsswarmError('CORRUPT', `applying the entry "${entry.path}": a hard link to "/"`);
    const { parent, parentPath, name } = this.#tree.place(parts);
    const source = joinPath(parentPath, name);
    const target = parent.children.get(name);
    if (target === undefined) this.#copyUp(entry, source, parent, name);
    else if (target.kind === 'dir' || target.kind === 'whiteout')
      throw new TsswarmError(
        'CORRUPT',
        `applying the entry "${entry.path}": the hard link's target "${source}" is a ${target.kind}`,
      );
    return source;
  }

  #link(source: string, path: PathBytes, place: Place): void {
    fs.linkSync(this.#path(source), path);
    const target = this.#nodeAt(source);
    if (target !== undefined) place.parent.children.set(place.name, target);
  }

  #nodeAt(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.#tree.root;
    for (const part of path.split('/')) node = node?.kind === 'dir' ? node.children.get(part) : undefined;
    return node;
  }

  /** A hard link to a file of a lower layer: as overlayfs does at link(2), the file is brought up first. */
  #copyUp(entry: TarEntry, source: string, parent: DirNode, name: string): void {
    if (this.#lower === undefined) throw new NeedsLowerLayers();
    const found = lowerEntry(this.#calls, this.#lower, source);
    if (!found?.stat.isFile())
      throw new TsswarmError(
        'CORRUPT',
        `applying the entry "${entry.path}": the hard link's target "${source}" is missing`,
      );
    this.#usedLower = true;
    const path = this.#path(source);
    fs.copyFileSync(found.path, path, fs.constants.COPYFILE_EXCL | fs.constants.COPYFILE_FICLONE);
    this.#copyAttributes(found, path);
    this.#calls.lutimes(path, found.stat.mtimeNs, found.stat.mtimeNs);
    parent.children.set(name, { kind: 'file' });
  }

  /** A directory that has no entry before its content: as the layer beneath has it, else root's with 0755. */
  #makeMissingDir(relative: string, replaces: TreeNode | undefined): void {
    const path = this.#path(relative);
    if (this.#lower === undefined) throw new NeedsLowerLayers();
    if (replaces !== undefined) removePresent(path, replaces);
    fs.mkdirSync(path);
    fs.chmodSync(path, 0o755);
    if (replaces !== undefined) return this.#calls.lsetxattr(path, OPAQUE_XATTR, YES);
    const found = lowerEntry(this.#calls, this.#lower, relative);
    if (!found?.stat.isDirectory()) return;
    this.#usedLower = true;
    this.#copyAttributes(found, path);
  }

  #copyAttributes(from: LowerEntry, to: PathBytes): void {
    fs.chownSync(to, Number(from.stat.uid), Number(from.stat.gid));
    fs.chmodSync(to, Number(from.stat.mode) & 0o7777);
    for (const name of this.#calls.llistxattr(from.path)) {
      const value = name.startsWith('trusted.overlay.') ? undefined : this.#calls.lgetxattr(from.path, name);
      if (value !== undefined) this.#setXattr(to, name, value);
    }
  }

  #setAttributes(entry: TarEntry, path: PathBytes): void {
    if (entry.uid !== 0 || entry.gid !== 0 || entry.type === 'dir') fs.lchownSync(path, entry.uid, entry.gid);
    if (entry.type !== 'symlink') fs.chmodSync(path, entry.mode);
    this.#setXattrs(entry, path);
  }

  #setXattrs(entry: TarEntry, path: PathBytes): void {
    // overlayfs' own attributes would let an image redirect a directory to any other of the layer stack.
    for (const [name, value] of entry.xattrs ?? [])
      if (!/^(trusted|user)\.overlay\./.test(name)) this.#setXattr(path, name, value);
  }

  #setXattr(path: PathBytes, name: string, value: Uint8Array): void {
    try {
      this.#calls.lsetxattr(path, name, value);
    } catch (error) {
      // The file system has no such attributes, or (EPERM) user.* on a link or device: Docker goes on as well.
      const errno = errnoOf(error);
      if (errno !== 'ENOTSUP' && errno !== 'EOPNOTSUPP' && !(errno === 'EPERM' && name.startsWith('user.')))
        throw error;
    }
  }

  #setDirTimes(node: DirNode, path: string): void {
    for (const [name, child] of node.children) if (child.kind === 'dir') this.#setDirTimes(child, joinPath(path, name));
    if (node.mtimeNs !== undefined) this.#calls.lutimes(this.#path(path), node.mtimeNs, node.mtimeNs);
  }

  #close(): void {
    if (this.#fd >= 0) fs.closeSync(this.#fd);
    this.#fd = -1;
    this.#current = undefined;
  }

  #path(relative: string): PathBytes {
    return relative === '' ? this.#root : pathOf(relative, `${this.#root}/`);
  }
}

function nodeOf(entry: TarEntry): TreeNode {
  return entry.type === 'symlink' ? { kind: 'symlink', target: entry.linkPath.toString('latin1') } : { kind: 'file' };
}

function removePresent(path: PathBytes, present: TreeNode): void {
  if (present.kind === 'dir') removeDirectory(path);
  else fs.unlinkSync(path);
}

function removeDirectory(path: PathBytes): void {
  const at = typeof path === 'string' ? Buffer.from(path) : path;
  for (const entry of fs.readdirSync(at, { withFileTypes: true, encoding: 'buffer' })) {
    const child = Buffer.concat([at, Buffer.from('/'), entry.name]);
    if (entry.isDirectory()) removeDirectory(child);
    else fs.unlinkSync(child);
  }
  fs.rmdirSync(at);
}

function tooLarge(what: string): TsswarmError {
  return new TsswarmError('TOO_LARGE', `applying a layer: it has ${what}`);
}
