import fs from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import { kernelCalls } from '../snapshot/native-calls.ts';
import { lowerEntry } from '../snapshot/lower-lookup.ts';

/** A stack of layers read without mounting it. */
export interface StackView {
  /** The path with every symbolic link in it followed inside the image; parts that do not exist stay as they are. */
  resolve(path: string): string;
  isDirectory(path: string): boolean;
  /** Text of a file; undefined when there is none. */
  readText(path: string): string | undefined;
  /** Where on disk the stack shows `path`; undefined when it does not. */
  locate(path: string): string | undefined;
}

const MAX_LINKS = 40;

/** @param layers directories, top-most first */
export function viewStack(layers: readonly string[]): StackView {
  const look = (path: string) =>
    path === '/' ? undefined : lowerEntry(kernelCalls, layers, Buffer.from(path.slice(1)).toString('latin1'));
  const resolve = (path: string): string => {
    let links = 0;
    let resolved = '/';
    const rest = normalize(path).split('/').filter(Boolean);
    while (rest.length > 0) {
      const part = rest.shift() ?? '';
      if (part === '..') {
        resolved = dirname(resolved);
        continue;
      }
      const next = join(resolved, part);
      const found = look(next);
      if (found?.stat.isSymbolicLink() === true && links++ < MAX_LINKS) {
        const target = fs.readlinkSync(found.path, 'utf8');
        if (target.startsWith('/')) resolved = '/';
        rest.unshift(...target.split('/').filter((piece) => piece !== '' && piece !== '.'));
        continue;
      }
      resolved = next;
    }
    return resolved;
  };
  return {
    resolve,
    isDirectory: (path) => path === '/' || look(resolve(path))?.stat.isDirectory() === true,
    readText(path) {
      const found = look(resolve(path));
      return found?.stat.isFile() === true ? fs.readFileSync(found.path, 'utf8') : undefined;
    },
    locate(path) {
      const found = look(resolve(path));
      return found === undefined ? undefined : found.path.toString();
    },
  };
}

/**
 * `--chown` as numbers, names looked up in the image's own passwd and group files.
 * @returns undefined when a name is not there
 */
export function lookUpOwner(view: StackView, text: string): { readonly uid: number; readonly gid: number } | undefined {
  const [user = '', group] = text.split(':');
  const passwd = find(view.readText('/etc/passwd'), user);
  const uid = /^\d+$/.test(user) ? Number(user) : passwd === undefined ? undefined : Number(passwd[2]);
  const entry = group === undefined ? undefined : find(view.readText('/etc/group'), group);
  const gid =
    group === undefined
      ? passwd === undefined
        ? uid
        : Number(passwd[3])
      : /^\d+$/.test(group)
        ? Number(group)
        : entry === undefined
          ? undefined
          : Number(entry[2]);
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function find(text: string | undefined, name: string): string[] | undefined {
  return text
    ?.split('\n')
    .map((line) => line.split(':'))
    .find(([first]) => first === name);
}
