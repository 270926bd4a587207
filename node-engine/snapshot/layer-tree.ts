import { TsswarmError } from '../../base/errors.ts';

/** A directory that the layer has made so far. Names are latin1-decoded bytes, so that any name is a distinct key. */
export interface DirNode {
  readonly kind: 'dir';
  readonly children: Map<string, TreeNode>;
  /** Time to set when everything is in place; undefined: the directory had no entry of its own. */
  mtimeNs: bigint | undefined;
}

export type TreeNode =
  | DirNode
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'file' }
  | { readonly kind: 'whiteout' };

/** Where an entry goes: its real directory (no symbolic link on the way) and its name there. */
export interface Place {
  readonly parent: DirNode;
  /** Path of `parent` below the layer's root: "" or "usr/lib". */
  readonly parentPath: string;
  readonly name: string;
}

/** As the kernel: more links than this on one way are a loop (path_resolution(7)). */
const MAX_LINKS = 40;

/** A directory without content. */
export function newDir(): DirNode {
  return { kind: 'dir', children: new Map(), mtimeNs: undefined };
}

/** "usr/lib" and "x" to "usr/lib/x"; "" and "x" to "x". */
export function joinPath(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`;
}

/**
 * The components of a name in an archive. A leading slash is dropped, as every tar does; "." and inner ".." are resolved
 * by their letters; the root itself is [].
 * @throws CORRUPT when ".." leads out of the root
 */
export function splitPath(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined)
      throw new TsswarmError('CORRUPT', `applying the entry "${path}": ".." leads out of the layer`);
  }
  return parts;
}

/**
 * What a layer has unpacked so far, kept in memory. The target directory starts empty and nobody else writes there, so
 * this tree is the truth about it: paths are resolved here, as in a chroot, without asking the file system and without
 * a chance to be led outside through a symbolic link.
 */
export class LayerTree {
  readonly root: DirNode = newDir();
  readonly #makeDir: (path: string, replaces: TreeNode | undefined) => void;

  /**
   * @param makeDir makes a directory that an entry needs and that has no entry (yet); `replaces` is the whiteout at its
   *   place, if there is one
   */
  constructor(makeDir: (path: string, replaces: TreeNode | undefined) => void) {
    this.#makeDir = makeDir;
  }

  /**
   * The place of the entry with these components (at least one), its missing directories made. Symbolic links on the way
   * are followed inside the layer; the last component is not.
   * @throws CORRUPT for a loop of links or a file in place of a directory
   */
  place(parts: readonly string[]): Place {
    const name = parts.at(-1) ?? '';
    const { node, path } = this.#directory(parts.slice(0, -1), parts);
    return { parent: node, parentPath: path, name };
  }

  #directory(parts: readonly string[], whole: readonly string[]): { node: DirNode; path: string } {
    let links = 0;
    const trail: { node: DirNode; path: string }[] = [{ node: this.root, path: '' }];
    const todo = [...parts].reverse();
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop(); // ".." of the root is the root
        continue;
      }
      const here = trail.at(-1) as { node: DirNode; path: string };
      const path = joinPath(here.path, part);
      let next = here.node.children.get(part);
      if (next === undefined || next.kind === 'whiteout') {
        this.#makeDir(path, next);
        next = newDir();
        here.node.children.set(part, next);
      }
      if (next.kind === 'dir') {
        trail.push({ node: next, path });
      } else if (next.kind === 'symlink') {
        if (++links > MAX_LINKS) throw unusable(whole, 'its directory is a loop of symbolic links');
        if (next.target.startsWith('/')) trail.length = 1;
        todo.push(...next.target.split('/').reverse());
      } else {
        throw unusable(whole, `"${path}" is a file in this layer, a directory was expected`);
      }
    }
    return trail.at(-1) as { node: DirNode; path: string };
  }
}

function unusable(parts: readonly string[], what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `applying the entry "${parts.join('/')}": ${what}`);
}
