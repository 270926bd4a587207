import { basename, dirname } from 'node:path/posix';
import { TsswarmError } from '../../../base/errors.ts';

/** What is copied. */
export interface CopySource {
  /** As the user wrote it: a trailing "/." means the content of a folder. */
  readonly path: string;
  readonly isFolder: boolean;
}

/** Where it is copied to. */
export interface CopyTarget {
  /** Absolute; a trailing "/" means that it must be a folder. */
  readonly path: string;
  /** What is there now; links are followed. */
  readonly there: 'folder' | 'file' | 'nothing';
}

/** An archive is unpacked below `folder`, its only entry called `name` ("." for a folder's content). */
export interface CopyPlan {
  readonly folder: string;
  readonly name: string;
}

/**
 * The rules of `docker cp`: what exists as a folder is copied into, under the source's name; what does not exist becomes the copy;
 * "folder/." is its content.
 * @throws INVALID_INPUT
 */
export function planCopy(source: CopySource, target: CopyTarget): CopyPlan {
  const refuse = (reason: string, hint?: string): never => {
    throw new TsswarmError('INVALID_INPUT', `copying "${source.path}" to "${target.path}": ${reason}`, {
      ...(hint === undefined ? {} : { hint }),
    });
  };
  const isContent = source.isFolder && /(^|\/)\.$/.test(source.path);
  const within = { folder: dirname(trim(target.path)), name: basename(trim(target.path)) };
  switch (target.there) {
    case 'folder':
      return { folder: target.path, name: isContent ? '.' : nameOf(source.path) };
    case 'file':
      if (source.isFolder) return refuse('the target is a file, and a folder cannot take its place');
      if (target.path.endsWith('/')) return refuse('the target is a file, not a folder');
      return within;
    case 'nothing':
      if (!source.isFolder && target.path.endsWith('/')) {
        return refuse('there is no such folder', 'make the folder first, or leave the "/" at the end away');
      }
      return within;
  }
}

/** Last part of a path; of "folder/." the folder's. */
export function nameOf(path: string): string {
  return basename(trim(path.replace(/\/\.$/, ''))) || '.';
}

const trim = (path: string): string => path.replace(/(?<=.)\/+$/, '');

/** "service:path" in two; undefined: a path of this machine. As docker, "./a:b" and "/a:b" are paths. */
export function splitPlace(text: string): { readonly service: string; readonly path: string } | undefined {
  const at = text.indexOf(':');
  if (at < 1 || /^[./]/.test(text)) return undefined;
  const path = text.slice(at + 1);
  return { service: text.slice(0, at), path: path.startsWith('/') ? path : `/${path}` };
}
