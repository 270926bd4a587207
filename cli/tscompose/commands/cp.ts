import { stat, lstat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TsswarmError, errnoOf } from '../../../base/errors.ts';
import { copyTree, fileTree } from '../../../node-engine/inspection/files.ts';
import type { FileTreeOptions } from '../../../node-engine/inspection/files.ts';
import type { FileTree } from '../../../node-engine/index.ts';
import type { FileStat, Task } from '../../../proto/types/index.ts';
import { LAUNCHER_PROGRAM } from '../../local-node/program.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { formatSize } from '../../render/index.ts';
import type { Context } from '../context.ts';
import { copyTasks } from '../containers/choose.ts';
import { nameOf, planCopy, splitPlace } from '../copy/plan.ts';
import type { CopyTarget } from '../copy/plan.ts';
import { demandService, readExisting } from '../project/existing.ts';

export interface CpOptions {
  readonly all?: boolean;
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly index?: string;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Pieces of an archive that go out together. */
const CHUNK_BYTES = 256 * 1024;

/** Copies files between containers of a service and this machine, whichever nodes they are on. */
export async function cp(context: Context, from: string, to: string, options: CpOptions): Promise<void> {
  const [source, target] = [splitPlace(from), splitPlace(to)];
  if ((source === undefined) === (target === undefined)) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `copying "${from}" to "${to}": ${source === undefined ? 'neither is' : 'both are'} in a container, expected one`,
      { hint: 'write SERVICE:PATH for the one in the container; ./a:b for a file of this machine with a colon' },
    );
  }
  const service = (source ?? target)?.service ?? '';
  const project = await context.projectName();
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, project, []);
    const chosen = copyTasks(existing, demandService(existing.services, service, project), options);
    if (source !== undefined) {
      const [task] = chosen;
      if (task !== undefined) await copyOut(node, task, source.path, to, options);
      return;
    }
    for (const task of chosen) {
      const bytes = await copyIn(node, task, from, target?.path ?? '/', options);
      if (process.stderr.isTTY) context.terminal.err(`Copied ${formatSize(bytes)} to ${task.name}\n`);
      // The standard input can be read once.
      if (from === '-') break;
    }
  } finally {
    node.close();
  }
}

async function copyOut(
  { tasks, daemon }: NodeClient,
  task: Task,
  path: string,
  to: string,
  { followLink = false, archive = false }: CpOptions,
): Promise<void> {
  const taskId = task.id;
  const inside = path.replace(/\/\.$/, '/');
  const { stat: what, runDir } = await tasks.statPath({ taskId, path: inside, followLink });
  if (what === undefined) {
    throw new TsswarmError('NOT_FOUND', `copying "${path}" of ${task.name}: there is no such file or folder`);
  }
  const request = (name: string) => ({ taskId, path: inside, followLink, name });
  if (to === '-') {
    if (process.stdout.isTTY) {
      throw new TsswarmError('INVALID_INPUT', `copying "${path}" to "-": it is an archive, and this is a terminal`, {
        hint: 'send it to a file or to "tar -x"',
      });
    }
    for await (const { data } of tasks.copyFrom(request(/\/\.$/.test(path) ? '.' : nameOf(path)))) await writeOut(data);
    return;
  }
  const wanted = resolve(to) + (/\/$/.test(to) ? '/' : '');
  const plan = planCopy({ path, isFolder: isFolder(what) }, { path: wanted, there: await localKind(wanted) });
  const bytes = async function* (): AsyncIterable<Uint8Array> {
    for await (const { data } of tasks.copyFrom(request(plan.name))) yield data;
  };
  await makeContentFolder(plan.folder, plan.name);
  const near = await rootNearby(daemon, task, runDir);
  if (near !== undefined) {
    const source = { ...near, path: inside, followLink, as: plan.name };
    await copyTree(source, { ...HERE, path: plan.folder, keepOwners: archive });
    return;
  }
  await here().unpack(plan.folder, bytes(), { keepOwners: archive });
}

/** @returns how many bytes of files were copied */
async function copyIn(
  { tasks, daemon }: NodeClient,
  task: Task,
  from: string,
  path: string,
  { followLink = false, archive = false }: CpOptions,
): Promise<number> {
  const { there, runDir } = await remoteKind(tasks, task, path);
  const start = (folder: string) => ({ start: { taskId: task.id, path: folder, keepOwners: archive } });
  if (from === '-') {
    if (there !== 'folder') {
      throw new TsswarmError('INVALID_INPUT', `copying "-" to "${path}" of ${task.name}: it is no folder there`, {
        hint: 'an archive is unpacked in a folder that exists',
      });
    }
    return send(tasks, start(path), process.stdin);
  }
  const whole = resolve(from) + (/\/\.?$/.test(from) ? '/' : '');
  const what = await here().stat(whole, followLink);
  if (what === undefined) throw new TsswarmError('NOT_FOUND', `copying "${from}": there is no such file or folder`);
  const plan = planCopy(
    { path: from === '.' ? `${resolve(from)}/.` : from, isFolder: isFolder(what) },
    { path, there },
  );
  const name = plan.name === '..' ? what.name : plan.name;
  const near = await rootNearby(daemon, task, runDir);
  if (near !== undefined) {
    const target = { ...near, path: plan.folder, keepOwners: archive };
    return (await copyTree({ ...HERE, path: whole, followLink, as: name }, target)).bytes;
  }
  const packed = here().pack(whole, { followLink, name });
  return send(tasks, start(plan.folder), packed);
}

async function send(
  tasks: NodeClient['tasks'],
  start: { readonly start: { readonly taskId: string; readonly path: string; readonly keepOwners: boolean } },
  archive: AsyncIterable<Uint8Array>,
): Promise<number> {
  const call = tasks.copyTo();
  const sending = (async () => {
    await call.send(start);
    for await (const data of gathered(archive)) await call.send({ data });
    call.end();
  })();
  // What the node says is the reason; that it takes no more is only the consequence.
  let failure: unknown;
  sending.catch((error: unknown) => {
    failure = error;
    call.cancel();
  });
  try {
    for await (const { bytes } of call.output) return bytes;
    throw new TsswarmError('UNAVAILABLE', 'copying: the connection ended before the copy was complete');
  } catch (error) {
    throw failure instanceof TsswarmError && failure.code !== 'CANCELLED' ? failure : error;
  }
}

/** Small pieces as larger ones: each is a message. */
async function* gathered(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pieces) {
    parts.push(piece);
    size += piece.length;
    if (size < CHUNK_BYTES) continue;
    yield Buffer.concat(parts);
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(parts);
}

/** The files of this machine, by the same program that works in containers. */
const HERE: FileTreeOptions = { program: LAUNCHER_PROGRAM, root: ['--root', '/'], name: 'this machine' };
const here = (): FileTree => fileTree(HERE);

/**
 * The root of a container that runs on this machine, for root: what is copied need not go through the node then, nor through
 * this process. A socket that leads elsewhere, or into another view of the file system, names a folder that is not there.
 */
async function rootNearby(
  daemon: NodeClient['daemon'],
  task: Task,
  runDir: string | undefined,
): Promise<FileTreeOptions | undefined> {
  if (runDir === undefined || process.geteuid?.() !== 0 || !existsSync(join(runDir, 'state.json'))) return undefined;
  if ((await daemon.status({})).nodeId !== task.nodeId) return undefined;
  return { program: LAUNCHER_PROGRAM, root: ['--run-dir', runDir], name: `container "${task.name}"` };
}

const isFolder = ({ mode }: FileStat): boolean => (mode & S_IFMT) === S_IFDIR;

async function localKind(path: string): Promise<CopyTarget['there']> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return 'file';
    if (errnoOf(error) !== 'ENOENT') throw error;
    // A link that leads nowhere is replaced.
    return (await lstat(path).catch(() => undefined)) === undefined ? 'nothing' : 'file';
  }
}

async function remoteKind(
  tasks: NodeClient['tasks'],
  { id }: Task,
  path: string,
): Promise<{ readonly there: CopyTarget['there']; readonly runDir: string | undefined }> {
  const { stat: found, runDir } = await tasks.statPath({ taskId: id, path, followLink: true });
  if (found !== undefined) return { there: isFolder(found) ? 'folder' : 'file', runDir };
  const { stat: link } = await tasks.statPath({ taskId: id, path, followLink: false });
  return { there: link === undefined ? 'nothing' : 'file', runDir };
}

/** The folder that takes the copy must be there; what is missing is the user's mistake, and is said in his words. */
async function makeContentFolder(folder: string, name: string): Promise<void> {
  if ((await localKind(folder)) === 'folder') return;
  throw new TsswarmError('NOT_FOUND', `copying to "${folder}/${name}": the folder "${folder}" does not exist`);
}

function writeOut(data: Uint8Array): Promise<void> {
  return new Promise((done) => process.stdout.write(data, () => done()));
}
