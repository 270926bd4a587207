import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { parseFailure } from '../launcher/failure.ts';
import type { LaunchFailure } from '../launcher/failure.ts';
import type { FileStat, FileTree } from '../types.ts';

/** What a run of the launcher has left unsaid is cut here: it says one line. */
const MOST_WORDS = 64 * 1024;

export interface FileTreeOptions {
  /** Path of tsrun. */
  readonly program: string;
  /** The launcher's words for the root: of a running container, of a stopped one, or a folder of this machine. */
  readonly root: readonly string[];
  /** For messages: `container "shop-web-1"`. */
  readonly name: string;
}

/**
 * Files below a root that their owner may change meanwhile: the launcher looks them up, so that no link leads out of it. Nothing of
 * the container's is executed.
 */
export function fileTree({ program, root, name }: FileTreeOptions): FileTree {
  const start = (args: readonly string[], stdin: 'pipe' | 'ignore', signal?: AbortSignal): ChildProcess =>
    startLauncher(program, args, stdin, signal);
  const action = (verb: string, path: string): string => `${verb} "${path}" of ${name}`;
  const [kind, runDir] = root;

  return {
    ...(kind === '--run-dir' && runDir !== undefined ? { runDir } : {}),
    async stat(path, followLink) {
      const child = start(['stat', ...root, '--path', path, ...(followLink ? ['--follow'] : [])], 'ignore');
      const ended = endOf(child);
      const said = await text(child.stdout as Readable);
      const failure = await ended;
      if (failure === undefined) return JSON.parse(said) as FileStat;
      if (failure.errno === 'ENOENT' || failure.errno === 'ENOTDIR') return undefined;
      throw failed(action('looking at', path), failure);
    },
    async *pack(path, options, signal) {
      const child = start(packing(root, path, options), 'ignore', signal);
      const ended = endOf(child);
      try {
        for await (const chunk of child.stdout as Readable) yield chunk as Buffer;
        const failure = await ended;
        signal?.throwIfAborted();
        if (failure !== undefined) throw failed(action('copying', path), failure);
      } finally {
        child.kill('SIGKILL');
      }
    },
    async unpack(path, archive, options, signal) {
      const child = start(unpacking(root, path, options), 'pipe', signal);
      const ended = endOf(child);
      const said = text(child.stdout as Readable);
      try {
        await feed(child, archive);
        const failure = await ended;
        signal?.throwIfAborted();
        if (failure !== undefined) throw failed(action('writing to', path), failure);
        return JSON.parse(await said) as { readonly bytes: number };
      } finally {
        child.kill('SIGKILL');
      }
    },
  };
}

/** A file or folder below a root, which is copied. */
export interface TreeSource extends FileTreeOptions {
  readonly path: string;
  readonly followLink: boolean;
  /** As for {@link FileTree.pack}. */
  readonly as: string;
}

/** The folder that takes it. */
export interface TreeTarget extends FileTreeOptions {
  readonly path: string;
  readonly keepOwners: boolean;
}

/**
 * Copies between two roots of this machine: the archive goes from launcher to launcher, and not through this process.
 * @returns the content of files that was written
 * @throws as `pack` and `unpack`
 */
export async function copyTree(
  source: TreeSource,
  target: TreeTarget,
  signal?: AbortSignal,
): Promise<{ readonly bytes: number }> {
  const from = startLauncher(
    source.program,
    packing(source.root, source.path, { name: source.as, followLink: source.followLink }),
    'ignore',
    signal,
  );
  const packed = endOf(from);
  const to = startLauncher(
    target.program,
    unpacking(target.root, target.path, target),
    from.stdout as Readable,
    signal,
  );
  const unpacked = endOf(to);
  // The other one has it now; it ends when the first does.
  from.stdout?.destroy();
  try {
    const said = text(to.stdout as Readable);
    const [packFailure, unpackFailure] = await Promise.all([packed, unpacked]);
    signal?.throwIfAborted();
    // Whoever writes to one that has given up says nothing; whoever reads from one that has finds the archive torn.
    const cannotPack = packFailure !== undefined && (packFailure.errno !== '' || unpackFailure === undefined);
    if (cannotPack) throw failed(`copying "${source.path}" of ${source.name}`, packFailure);
    if (unpackFailure !== undefined) throw failed(`writing to "${target.path}" of ${target.name}`, unpackFailure);
    return JSON.parse(await said) as { readonly bytes: number };
  } finally {
    from.kill('SIGKILL');
    to.kill('SIGKILL');
  }
}

const packing = (
  root: readonly string[],
  path: string,
  options: { readonly followLink: boolean; readonly name: string },
) => [
  'pack',
  ...root,
  '--path',
  path,
  '--name',
  options.name === '' ? basename(path) || '.' : options.name,
  ...(options.followLink ? ['--follow'] : []),
];

const unpacking = (root: readonly string[], path: string, { keepOwners }: { readonly keepOwners: boolean }) => [
  'unpack',
  ...root,
  '--path',
  path,
  ...(keepOwners ? ['--owners'] : []),
];

function startLauncher(
  program: string,
  args: readonly string[],
  stdin: 'pipe' | 'ignore' | Readable,
  signal: AbortSignal | undefined,
): ChildProcess {
  signal?.throwIfAborted();
  const child = spawn(program, [...args], { stdio: [stdin, 'pipe', 'pipe'], env: {} });
  const stop = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  child.once('close', () => signal?.removeEventListener('abort', stop));
  for (const stream of child.stdio) stream?.on('error', () => undefined);
  return child;
}

/** Resolves when the launcher has ended, with what went wrong. */
function endOf(child: ChildProcess): Promise<LaunchFailure | undefined> {
  let words = '';
  child.stderr?.on('data', (data: Buffer) => {
    if (words.length < MOST_WORDS) words += data.toString();
  });
  const plain = (message: string): LaunchFailure => ({ stage: 'archive', path: '', errno: '', message });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(plain(`running the launcher: ${messageOf(error)}`)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(undefined);
      else resolve(parseFailure(words) ?? plain(words.trim() || `the launcher ended with ${signal ?? code}`));
    });
  });
}

/** Hands the archive over as fast as it is taken; a launcher that has given up takes no more. */
async function feed({ stdin }: ChildProcess, archive: AsyncIterable<Uint8Array>): Promise<void> {
  if (stdin === null) return;
  for await (const chunk of archive) {
    if (stdin.destroyed) return;
    await new Promise<void>((resolve) => stdin.write(chunk, () => resolve()));
  }
  stdin.end();
}

function failed(action: string, { errno, message, stage }: LaunchFailure): TsswarmError {
  const text = `${action}: ${message}`;
  if (stage === 'state') return new TsswarmError('CONTAINER_NOT_RUNNING', text);
  switch (errno) {
    case 'ENOENT':
      return new TsswarmError('NOT_FOUND', text);
    case 'ENOSPC':
    case 'EDQUOT':
      return new TsswarmError('DISK_FULL', text);
    case 'EROFS':
      return new TsswarmError('INVALID_INPUT', text, { hint: 'it is mounted read-only there' });
    case 'ENOTDIR':
    case 'EISDIR':
    case 'EINVAL':
    case 'ELOOP':
    case 'ENAMETOOLONG':
    case 'ENOTSUP':
      return new TsswarmError('INVALID_INPUT', text);
    default:
      return new TsswarmError('RUNTIME_FAILED', text);
  }
}
