import { crc32 } from 'node:zlib';

/**
 * How a write lies in a journal file. Frames follow one another from the start of the file, each with the next number:
 *
 *     frame         magic u32, length u32, number u64, crc32 of the content u32, crc32 of these 20 bytes u32, content, padding to 8 B
 *     confirmation  magic u32, crc32 of the number u32, number u64
 *
 * A frame is written and synced at once. Only then its confirmation is written, with the next frame or a little later: it
 * tells a write that was never acknowledged, and may be torn, from one that was and has been damaged since. A file is used again from its start:
 * what is left of before has lower numbers.
 */
const FRAME_MAGIC = 0x6a6e6c01;
const CONFIRMATION_MAGIC = 0x6a6e6c02;
const HEADER_BYTES = 24;
export const CONFIRMATION_BYTES = 16;
const ALIGNMENT = 8;

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Bytes of a file that a frame takes, with its confirmation. */
export const frameBytes = (contentBytes: number): number => padded(HEADER_BYTES + contentBytes) + CONFIRMATION_BYTES;

/** Where a frame's confirmation goes, from the frame's start. */
export const confirmationAt = (contentBytes: number): number => padded(HEADER_BYTES + contentBytes);

/**
 * A frame, and room for its confirmation.
 * @param number the one after the frame before; from 1
 * @param parts the content, in pieces
 * @param room bytes that are left free before it
 */
export function encodeFrame(number: number, parts: readonly Uint8Array[], room = 0): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = Buffer.alloc(room + frameBytes(length));
  const frame = bytes.subarray(room);
  let at = HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  frame.writeUInt32BE(FRAME_MAGIC);
  frame.writeUInt32BE(length, 4);
  frame.writeBigUInt64BE(BigInt(number), 8);
  frame.writeUInt32BE(crc32(frame.subarray(HEADER_BYTES, at)), 16);
  frame.writeUInt32BE(crc32(frame.subarray(0, 20)), 20);
  return bytes;
}

/** Says that the frame of this number was on disk. */
export function encodeConfirmation(number: number): Buffer {
  const bytes = Buffer.alloc(CONFIRMATION_BYTES);
  bytes.writeUInt32BE(CONFIRMATION_MAGIC);
  bytes.writeBigUInt64BE(BigInt(number), 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

export interface Frame {
  readonly number: number;
  readonly content: Buffer;
}

/** What a journal file holds. */
export interface Scan {
  /** In order, without a gap. */
  readonly frames: readonly Frame[];
  /** A frame with this number was acknowledged and is not whole. */
  readonly damaged?: number;
}

/**
 * Reads a journal file.
 * @param after number up to which everything is safe elsewhere: older frames do not matter, whole or not
 */
export function scanFrames(file: Buffer, after: number): Scan {
  const frames: Frame[] = [];
  let at = 0;
  for (let frame = frameAt(file, at); frame !== undefined; frame = frameAt(file, at)) {
    const before = frames.at(-1);
    if (before !== undefined && frame.number !== before.number + 1) break;
    frames.push(frame);
    at += frameBytes(frame.content.length);
  }
  const next = Math.max(after, frames.at(-1)?.number ?? 0) + 1;
  return acknowledges(file, at, next) ? { frames, damaged: next } : { frames };
}

/** The whole frame that begins there. */
function frameAt(file: Buffer, at: number): Frame | undefined {
  const header = headerAt(file, at);
  if (header === undefined || at + frameBytes(header.length) > file.length) return undefined;
  const content = file.subarray(at + HEADER_BYTES, at + HEADER_BYTES + header.length);
  return crc32(content) === header.crc ? { number: header.number, content } : undefined;
}

function headerAt(file: Buffer, at: number): { number: number; length: number; crc: number } | undefined {
  if (at + HEADER_BYTES > file.length || file.readUInt32BE(at) !== FRAME_MAGIC) return undefined;
  if (crc32(file.subarray(at, at + 20)) !== file.readUInt32BE(at + 20)) return undefined;
  return {
    length: file.readUInt32BE(at + 4),
    number: Number(file.readBigUInt64BE(at + 8)),
    crc: file.readUInt32BE(at + 16),
  };
}

/** Whether anything from `from` on says that the frame of this number was acknowledged: its confirmation, or a later frame. */
function acknowledges(file: Buffer, from: number, number: number): boolean {
  for (let at = from; at + CONFIRMATION_BYTES <= file.length; at += ALIGNMENT) {
    const magic = file.readUInt32BE(at);
    if (magic === CONFIRMATION_MAGIC) {
      const said = file.subarray(at + 8, at + CONFIRMATION_BYTES);
      if (crc32(said) === file.readUInt32BE(at + 4) && Number(said.readBigUInt64BE()) >= number) return true;
    } else if (magic === FRAME_MAGIC && (headerAt(file, at)?.number ?? 0) > number) return true;
  }
  return false;
}
