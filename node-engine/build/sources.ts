import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { Ignore } from './ignore.ts';
import { toExpression } from './ignore.ts';

/** One file of what is copied. */
export interface SourceFile {
  /** Path relative to the copied thing; "" for the thing itself. */
  readonly relative: string;
  /** Where its bytes are. */
  readonly path: string;
  readonly type: 'file' | 'dir' | 'symlink';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly link: string;
}

/** A file or directory that a COPY names, with what is in it. */
export interface Source {
  /** Path relative to the root it was found in. */
  readonly name: string;
  readonly isDirectory: boolean;
  readonly files: readonly SourceFile[];
}

/**
 * What a pattern of COPY finds below `root`, in the order of names. Nothing outside of `root` is ever found: a pattern's
 * leading `..` are dropped, and symbolic links are copied as links.
 */
export function findSources(root: string, pattern: string, ignored: Ignore): readonly Source[] {
  const clean = normalize(`/${pattern}`).slice(1).replace(/\/$/, '');
  if (clean === '') return [collect(root, '', ignored)];
  if (!/[*?[]/.test(clean)) {
    const stat = lstatSync(join(root, clean), { throwIfNoEntry: false });
    return stat === undefined || ignored(clean) ? [] : [collect(root, clean, ignored)];
  }
  const depth = clean.split('/').length;
  const expression = toExpression(clean);
  const found: Source[] = [];
  const walk = (relative: string, level: number): void => {
    for (const name of readdirSync(join(root, relative)).sort()) {
      const path = relative === '' ? name : `${relative}/${name}`;
      if (level === depth || clean.includes('**')) {
        if (expression.test(path) && !ignored(path)) {
          found.push(collect(root, path, ignored));
          continue;
        }
      }
      if ((level < depth || clean.includes('**')) && lstatSync(join(root, path)).isDirectory()) walk(path, level + 1);
    }
  };
  walk('', 1);
  return found;
}

function collect(root: string, name: string, ignored: Ignore): Source {
  const files: SourceFile[] = [];
  const walk = (relative: string): void => {
    const inRoot = [name, relative].filter(Boolean).join('/');
    if (relative !== '' && ignored(inRoot)) {
      // A directory that is left out may hold something that a later rule takes back.
      if (!lstatSync(join(root, inRoot)).isDirectory()) return;
      for (const child of readdirSync(join(root, inRoot)).sort()) walk(`${relative}/${child}`);
      return;
    }
    const path = join(root, inRoot);
    const stat = lstatSync(path, { bigint: true });
    const type = stat.isDirectory() ? 'dir' : stat.isSymbolicLink() ? 'symlink' : stat.isFile() ? 'file' : undefined;
    if (type === undefined) return;
    files.push({
      relative,
      path,
      type,
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: type === 'file' ? Number(stat.size) : 0,
      mtimeNs: stat.mtimeNs,
      link: type === 'symlink' ? readlinkSync(path) : '',
    });
    if (type === 'dir')
      for (const child of readdirSync(path).sort()) walk(relative === '' ? child : `${relative}/${child}`);
  };
  walk('');
  return { name, isDirectory: files[0]?.type === 'dir', files };
}

/** Digest of names, kinds, modes and contents, without times: what a build's cache goes by. */
export async function hashSources(sources: readonly Source[]): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, files } of sources) {
    for (const file of files) {
      hash.update(JSON.stringify([name, file.relative, file.type, file.mode, file.size, file.link]));
      if (file.type === 'file') for await (const chunk of createReadStream(file.path)) hash.update(chunk as Buffer);
    }
  }
  return hash.digest('hex');
}
