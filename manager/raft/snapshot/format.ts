import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { decodeConfiguration, encodeConfiguration } from '../core/configuration.ts';
import { sealedBy } from '../seal/sealer.ts';
import type { Sealer } from '../seal/sealer.ts';
import type { Configuration, SnapshotMeta } from '../types.ts';

export interface Snapshot extends Omit<SnapshotMeta, 'configuration'> {
  /** Undefined in a snapshot from before there were members: its cluster has one. */
  readonly configuration: Configuration | undefined;
  readonly data: Uint8Array;
}

/** What a file says of itself beside the data. */
export type SnapshotOrigin = Omit<Snapshot, 'data'>;

/** Every version begins with [crc32 of the rest u32][index u64][term u64]. Version 1: the data follows. */
export const HEADER_BYTES = 20;
/** Version 2 has after that: [index of the configuration u64][its length u32][configuration], then the data. */
const V2_HEADER_BYTES = 32;
/**
 * Version 3 has frames after that, [length u32][sealed bytes] each: first [index of the configuration u64][configuration]
 * (empty: there is none), then the data in pieces, then an empty one that says that nothing is missing.
 */
const LENGTH_BYTES = 4;
/** Pieces that are smaller are sealed together. */
const GATHERED_BYTES = 64 * 1024;
/** Bytes that are looked at before others get their turn. */
export const STEP_BYTES = 2 * 1024 * 1024;

export type SnapshotVersion = 1 | 2 | 3;

/** The beginning of a file, whose checksum is still to be filled in. */
export function headerOf({ index, term }: SnapshotOrigin): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeBigUInt64BE(BigInt(index), 4);
  header.writeBigUInt64BE(BigInt(term), 12);
  return header;
}

/** What follows the header in version 2. */
export async function* plainParts(
  { configuration }: SnapshotOrigin,
  data: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const members = encodeConfiguration(configuration?.servers ?? []);
  const rest = Buffer.alloc(V2_HEADER_BYTES - HEADER_BYTES + members.length);
  rest.writeBigUInt64BE(BigInt(configuration?.index ?? 0));
  rest.writeUInt32BE(members.length, 8);
  rest.set(members, V2_HEADER_BYTES - HEADER_BYTES);
  yield rest;
  yield* data;
}

/** What follows the header in version 3. */
export async function* sealedParts(
  { index, term, configuration }: SnapshotOrigin,
  data: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  sealer: Sealer,
): AsyncGenerator<Uint8Array> {
  let number = 0;
  const frame = (plain: Uint8Array, last = false): Buffer => {
    const bytes = sealer.seal(plain, placeOf(index, term, number++, last), LENGTH_BYTES);
    bytes.writeUInt32BE(bytes.length - LENGTH_BYTES);
    return bytes;
  };
  yield frame(configuration === undefined ? Buffer.alloc(0) : encodeMembers(configuration));
  let gathered: Uint8Array[] = [];
  let size = 0;
  for await (const piece of data) {
    gathered.push(piece);
    size += piece.length;
    if (size < GATHERED_BYTES) continue;
    yield frame(gathered.length === 1 ? piece : Buffer.concat(gathered));
    gathered = [];
    size = 0;
  }
  if (size > 0) yield frame(Buffer.concat(gathered));
  yield frame(Buffer.alloc(0), true);
}

/** What a frame is bound to: it opens in its own place of its own snapshot only. */
function placeOf(index: number, term: number, number: number, last: boolean): Buffer {
  const place = Buffer.allocUnsafe(21);
  place.writeBigUInt64BE(BigInt(index));
  place.writeBigUInt64BE(BigInt(term), 8);
  place.writeUInt32BE(number, 16);
  place.writeUInt8(last ? 1 : 0, 20);
  return place;
}

/** Id of the key that sealed a snapshot; undefined: none did. @param start its first bytes, 64 at least */
export function snapshotSealedBy(version: SnapshotVersion, start: Buffer): string | undefined {
  return version === 3 ? sealedBy(start.subarray(HEADER_BYTES + LENGTH_BYTES)) : undefined;
}

/**
 * Reads a snapshot whose checksum is right, step by step: between two of them others may have their turn.
 * @returns undefined when the bytes are not what was written
 * @throws PERMISSION_DENIED when it is sealed with a key that is not here
 */
export function* readSnapshot(
  version: SnapshotVersion,
  bytes: Buffer,
  sealer: Sealer | undefined,
): Generator<void, Snapshot | undefined> {
  const index = Number(bytes.readBigUInt64BE(4));
  const term = Number(bytes.readBigUInt64BE(12));
  if (version === 1) return { index, term, configuration: undefined, data: bytes.subarray(HEADER_BYTES) };
  if (version === 2) {
    const end = V2_HEADER_BYTES + bytes.readUInt32BE(28);
    const servers = decodeConfiguration(bytes.subarray(V2_HEADER_BYTES, end));
    return {
      index,
      term,
      configuration: { index: Number(bytes.readBigUInt64BE(20)), servers },
      data: bytes.subarray(end),
    };
  }
  if (sealer === undefined) throw new TsswarmError('INTERNAL', `reading the snapshot of ${index}: it is sealed`);
  const parts: Buffer[] = [];
  const frames = framesOf(bytes);
  if (frames === undefined) return undefined;
  let opened = 0;
  for (const [number, frame] of frames.entries()) {
    try {
      parts.push(sealer.open(frame, placeOf(index, term, number, number === frames.length - 1)));
    } catch (error) {
      if (isTsswarmError(error, 'CORRUPT')) return undefined;
      throw error;
    }
    opened += frame.length;
    if (opened < STEP_BYTES) continue;
    opened = 0;
    yield;
  }
  const first = parts.shift();
  if (first === undefined) return undefined;
  return {
    index,
    term,
    configuration: first.length === 0 ? undefined : decodeMembers(first),
    data: yield* joined(parts),
  };
}

function encodeMembers({ index, servers }: Configuration): Buffer {
  const first = Buffer.alloc(8);
  first.writeBigUInt64BE(BigInt(index));
  return Buffer.concat([first, encodeConfiguration(servers)]);
}

const decodeMembers = (bytes: Buffer): Configuration => ({
  index: Number(bytes.readBigUInt64BE()),
  servers: decodeConfiguration(bytes.subarray(8)),
});

function framesOf(bytes: Buffer): readonly Buffer[] | undefined {
  const frames: Buffer[] = [];
  for (let at = HEADER_BYTES; at < bytes.length;) {
    if (at + LENGTH_BYTES > bytes.length) return undefined;
    const begin = at + LENGTH_BYTES;
    at = begin + bytes.readUInt32BE(at);
    if (at > bytes.length) return undefined;
    frames.push(bytes.subarray(begin, at));
  }
  return frames.length < 2 ? undefined : frames;
}

function* joined(parts: readonly Buffer[]): Generator<void, Buffer> {
  const whole = Buffer.allocUnsafe(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  let copied = 0;
  for (const part of parts) {
    part.copy(whole, at);
    at += part.length;
    copied += part.length;
    if (copied < STEP_BYTES) continue;
    copied = 0;
    yield;
  }
  return whole;
}
