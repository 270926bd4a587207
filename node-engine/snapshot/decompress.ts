import { Readable, pipeline } from 'node:stream';
import zlib from 'node:zlib';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';

/** How a layer or an archive is packed. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** Size of the pieces that come out: large enough that the cost per piece does not show. */
const CHUNK_BYTES = 256 * 1024;

/** What the first bytes say (RFC 1952, RFC 8878; skippable frames count as zstd): media types are often wrong. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const magic = head.length < 4 ? 0 : Buffer.from(head.buffer, head.byteOffset, 4).readUInt32LE(0);
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50 ? 'zstd' : 'none';
}

/**
 * The plain bytes of a stream that is packed by gzip, by zstd or not at all.
 * @param what names it in messages
 * @throws CORRUPT when the packed bytes cannot be read
 */
export async function* decompress(source: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array, void> {
  const pieces = source[Symbol.asyncIterator]();
  let head: Uint8Array = Buffer.alloc(0);
  while (head.length < 4) {
    const next = await pieces.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  const whole = resumed(head, pieces);
  const compression = detectCompression(head);
  if (compression === 'none') return yield* whole;
  const codec =
    compression === 'gzip'
      ? zlib.createGunzip({ chunkSize: CHUNK_BYTES })
      : zlib.createZstdDecompress({ chunkSize: CHUNK_BYTES });
  // The pipeline hands an error of the source on to the codec, where the loop below meets it.
  pipeline(Readable.from(whole, { objectMode: false, highWaterMark: CHUNK_BYTES }), codec, () => undefined);
  try {
    for await (const chunk of codec) yield chunk as Buffer;
  } catch (error) {
    if (!isCodecError(error)) throw error;
    throw new TsswarmError('CORRUPT', `unpacking ${what}: ${compression}: ${messageOf(error)}`, { cause: error });
  }
}

async function* resumed(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    if (head.length > 0) yield head;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

function isCodecError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && (code.startsWith('Z_') || code.startsWith('ZSTD')) && errnoOf(error) === undefined;
}
