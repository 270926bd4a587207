import { createReadStream } from 'node:fs';
import { basename, dirname, join } from 'node:path/posix';
import { TAR_END, tarHeader, tarPadding } from '../snapshot/index.ts';
import type { TarEntry } from '../snapshot/index.ts';
import type { Source, SourceFile } from './sources.ts';

export interface CopyPlan {
  readonly sources: readonly Source[];
  /** Absolute in the image, its links already followed. */
  readonly destination: string;
  /** The destination is a directory: by its trailing slash, by being one, or because several things go there. */
  readonly intoDirectory: boolean;
  /** Directories on the way that the image has already: they keep what they are. */
  readonly existing: (path: string) => boolean;
  /** Undefined: as in the source (`--from`), or root's (from the context). */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly mode: number | undefined;
}

/**
 * The layer that a COPY makes, as a tar. The content of a directory goes to the destination, not the directory itself
 * (Dockerfile reference, "COPY").
 */
export async function* copyLayer(plan: CopyPlan): AsyncGenerator<Uint8Array, void> {
  const made = new Set<string>();
  for (const source of plan.sources) {
    const target =
      plan.intoDirectory && !source.isDirectory ? join(plan.destination, basename(source.name)) : plan.destination;
    for (const directory of parents(target)) {
      if (plan.existing(directory) || made.has(directory)) continue;
      made.add(directory);
      yield tarHeader(
        entry(directory, { type: 'dir', mode: 0o755, uid: 0, gid: 0, size: 0, mtimeNs: 0n, link: '' }, plan),
      );
    }
    for (const file of source.files) {
      const path = file.relative === '' ? target : join(target, file.relative);
      if (file.type === 'dir' && (path === '/' || made.has(path) || plan.existing(path))) continue;
      if (file.type === 'dir') made.add(path);
      yield tarHeader(entry(path, file, plan));
      if (file.type !== 'file') continue;
      yield* content(file);
      yield tarPadding(file.size);
    }
  }
  yield TAR_END;
}

/** Exactly the bytes that the header promised: a file that shrinks meanwhile is an error, not a corrupt layer. */
async function* content(file: SourceFile): AsyncGenerator<Uint8Array, void> {
  if (file.size === 0) return;
  let read = 0;
  for await (const chunk of createReadStream(file.path, { end: file.size - 1 })) {
    read += (chunk as Buffer).length;
    yield chunk as Buffer;
  }
  if (read !== file.size) throw new Error(`copying "${file.path}": it changed while it was read`);
}

function entry(
  path: string,
  file: Pick<SourceFile, 'type' | 'mode' | 'uid' | 'gid' | 'size' | 'mtimeNs' | 'link'>,
  { owner, mode }: CopyPlan,
): TarEntry {
  const name = path.slice(1) + (file.type === 'dir' ? '/' : '');
  return {
    type: file.type,
    path: Buffer.from(name),
    linkPath: Buffer.from(file.link),
    mode: file.type === 'symlink' ? 0o777 : (mode ?? file.mode),
    uid: owner?.uid ?? file.uid,
    gid: owner?.gid ?? file.gid,
    size: file.size,
    mtimeNs: file.mtimeNs,
    major: 0,
    minor: 0,
    xattrs: undefined,
  };
}

function parents(path: string): string[] {
  const result: string[] = [];
  for (let parent = dirname(path); parent !== '/'; parent = dirname(parent)) result.unshift(parent);
  return result;
}
