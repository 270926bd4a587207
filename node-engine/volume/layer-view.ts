import type { BigIntStats } from 'node:fs';
import { lstatSync, readdirSync, readlinkSync } from 'node:fs';

/** Reads an extended attribute; undefined where there is none. */
export type ReadAttribute = (path: Buffer, name: string) => Uint8Array | undefined;

/** A file as a stack of layers shows it; a directory may consist of several. */
export interface ViewedFile {
  /** Of the top-most layer: owner, mode, times, link target and attributes are its. */
  readonly path: Buffer;
  readonly stat: BigIntStats;
  /** For a directory: its parts in the layers, top-most first. */
  readonly parts: readonly Buffer[];
}

/** More links than this on one way are a loop (path_resolution(7)). */
const MAX_LINKS = 40;
const OPAQUE = 'trusted.overlay.opaque';

/**
 * What an overlay of these directories would show, read without mounting it (kernel docs: filesystems/overlayfs): names of
 * upper layers hide those below, a whiteout is a character device 0:0, an opaque directory hides what lies below it.
 */
export class LayerView {
  readonly #root: ViewedFile;
  readonly #readAttribute: ReadAttribute;

  /** @param layers top-most first */
  constructor(layers: readonly string[], readAttribute: ReadAttribute) {
    this.#readAttribute = readAttribute;
    const parts = layers.map((layer) => Buffer.from(layer));
    const [top] = parts;
    if (top === undefined) throw new Error('a view needs a layer');
    this.#root = { path: top, stat: lstatSync(top, { bigint: true }), parts };
  }

  /** The file at an absolute path, symbolic links followed inside the view as in a chroot; undefined if there is none. */
  resolve(path: string): ViewedFile | undefined {
    const trail: ViewedFile[] = [this.#root];
    const todo = path.split('/').reverse();
    let links = 0;
    for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const next = this.child(trail.at(-1) as ViewedFile, Buffer.from(name));
      if (next === undefined) return undefined;
      if (next.stat.isSymbolicLink()) {
        if (++links > MAX_LINKS) return undefined;
        const target = readlinkSync(next.path);
        if (target.startsWith('/')) trail.length = 1;
        todo.push(...target.split('/').reverse());
      } else {
        trail.push(next);
      }
    }
    return trail.at(-1);
  }

  /** The file of that name in a directory; undefined if there is none or `directory` is not one. */
  child(directory: ViewedFile, name: Buffer): ViewedFile | undefined {
    let found: { path: Buffer; stat: BigIntStats } | undefined;
    const parts: Buffer[] = [];
    for (const part of directory.parts) {
      const path = Buffer.concat([part, SLASH, name]);
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) continue;
      if (!stat.isDirectory()) {
        if (found !== undefined) break;
        return stat.isCharacterDevice() && stat.rdev === 0n ? undefined : { path, stat, parts: [] };
      }
      found ??= { path, stat };
      parts.push(path);
      if (this.#isOpaque(path)) break;
    }
    return found && { ...found, parts };
  }

  /** The names in a directory with their files, in byte order. */
  *children(directory: ViewedFile): Generator<readonly [name: Buffer, file: ViewedFile]> {
    const names = new Set<string>();
    for (const part of directory.parts) for (const name of readdirSync(part, { encoding: 'latin1' })) names.add(name);
    for (const latin1 of [...names].toSorted()) {
      const name = Buffer.from(latin1, 'latin1');
      const file = this.child(directory, name);
      if (file !== undefined) yield [name, file];
    }
  }

  #isOpaque(path: Buffer): boolean {
    return this.#readAttribute(path, OPAQUE)?.[0] === 0x79; // "y"
  }
}

const SLASH = Buffer.from('/');
