import { TsswarmError } from '../../../base/errors.ts';
import type { ContainerId } from '../../../base/ids.ts';
import type { FileTree, Inspection } from '../../../node-engine/index.ts';
import type {
  CopyFromChunk,
  CopyFromRequest,
  CopyToInput,
  CopyToResult,
  PathRequest,
  StatPathResponse,
} from '../../../proto/types/index.ts';

const PIECE_BYTES = 256 * 1024;

type Files = Pick<Inspection, 'files'>;

/** A file of a container on this node. */
export async function statPath(
  inspection: Files,
  id: ContainerId,
  { path, followLink }: PathRequest,
): Promise<StatPathResponse> {
  return inspection.files(id, async (tree) => {
    const stat = await tree.stat(path, followLink);
    return {
      ...(stat === undefined ? {} : { stat }),
      ...(tree.runDir === undefined ? {} : { runDir: tree.runDir }),
    };
  });
}

/** An archive of files of a container on this node. */
export async function* copyFrom(
  inspection: Files,
  find: () => ContainerId,
  { path, followLink, name }: CopyFromRequest,
  signal: AbortSignal,
): AsyncIterable<CopyFromChunk> {
  const held = Promise.withResolvers<FileTree>();
  const done = Promise.withResolvers<void>();
  // The container is held until the archive was read.
  const holding = inspection.files(find(), (tree) => {
    held.resolve(tree);
    return done.promise;
  });
  holding.catch(held.reject);
  try {
    const tree = await held.promise;
    for await (const data of inPieces(tree.pack(path, { followLink, name }, signal))) yield { data };
  } finally {
    done.resolve();
    await holding.catch(() => undefined);
  }
}

/** Writes an archive to a folder of a container on this node. */
export async function* copyTo(
  inspection: Files,
  find: (taskId: string) => ContainerId,
  inputs: AsyncIterable<CopyToInput>,
  signal: AbortSignal,
): AsyncIterable<CopyToResult> {
  const iterator = inputs[Symbol.asyncIterator]();
  const first = await iterator.next();
  const start = first.done === true ? undefined : first.value.start;
  if (start === undefined) throw new TsswarmError('INVALID_INPUT', 'copying: the first message does not say where to');
  const { taskId, path, keepOwners } = start;
  yield await inspection.files(find(taskId), (tree) => tree.unpack(path, archiveOf(iterator), { keepOwners }, signal));
}

/** Pieces of a pipe as larger ones: each is a message. */
async function* inPieces(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytes) {
    parts.push(part);
    size += part.length;
    if (size < PIECE_BYTES) continue;
    yield Buffer.concat(parts);
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(parts);
}

async function* archiveOf(inputs: AsyncIterator<CopyToInput>): AsyncIterable<Uint8Array> {
  for (;;) {
    const next = await inputs.next();
    if (next.done === true) return;
    if (next.value.data !== undefined) yield next.value.data;
  }
}
