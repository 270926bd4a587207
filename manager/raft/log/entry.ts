import { crc32 } from 'node:zlib';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import { sealedBy } from '../seal/sealer.ts';
import type { Sealer } from '../seal/sealer.ts';
import type { Entry, EntryKind } from '../types.ts';

const HEADER_BYTES = 13;
/** The numbers on disk are the places here: add at the end only. */
const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration'];
/** Added to the kind: the payload is sealed. */
const SEALED = 0x80;

/**
 * An entry as it lies on disk: [crc32 of the rest u32][term u64][kind u8][payload]; the index, which is the key, is under the
 * checksum too.
 * @param sealer seals the payload; absent: it is written as it is
 */
export function encodeEntry({ index, term, kind, payload }: Entry, sealer: Sealer | undefined): Buffer {
  const code = KINDS.indexOf(kind);
  let bytes: Buffer;
  if (sealer === undefined) {
    bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
    bytes.set(payload, HEADER_BYTES);
  } else bytes = sealer.seal(payload, placeOf(index, term, code), HEADER_BYTES);
  bytes.writeBigUInt64BE(BigInt(term), 4);
  bytes.writeUInt8(sealer === undefined ? code : code | SEALED, 12);
  bytes.writeUInt32BE(checksum(index, bytes));
  return bytes;
}

/** What a sealed payload is bound to: it opens in its own place only. */
function placeOf(index: number, term: number, code: number): Buffer {
  const place = Buffer.allocUnsafe(17);
  place.writeBigUInt64BE(BigInt(index));
  place.writeBigUInt64BE(BigInt(term), 8);
  place.writeUInt8(code, 16);
  return place;
}

/** Whether an entry's payload is sealed, by its bytes. */
export const isSealed = (bytes: Buffer): boolean => ((bytes[12] ?? 0) & SEALED) !== 0;

/** The number of the entry's kind, when its bytes are what was written. @throws CORRUPT */
export function checkEntry(index: number, bytes: Buffer, path: string): number {
  const code = (bytes[12] ?? KINDS.length) & ~SEALED;
  if (bytes.length < HEADER_BYTES || code >= KINDS.length || bytes.readUInt32BE() !== checksum(index, bytes)) {
    throw corrupt(path, `entry ${index} fails its checksum`);
  }
  return code;
}

/** @throws CORRUPT; PERMISSION_DENIED when it is sealed with a key that is not here */
export function decodeEntry(index: number, bytes: Buffer, path: string, sealer: Sealer | undefined): Entry {
  const code = checkEntry(index, bytes, path);
  const term = Number(bytes.readBigUInt64BE(4));
  const kind = KINDS[code] ?? 'noop';
  const content = bytes.subarray(HEADER_BYTES);
  if (!isSealed(bytes)) return { index, term, kind, payload: Buffer.from(content) };
  if (sealer === undefined) throw new TsswarmError('INTERNAL', `reading entry ${index} of the log: it is sealed`);
  try {
    return { index, term, kind, payload: sealer.open(content, placeOf(index, term, code)) };
  } catch (cause) {
    if (isTsswarmError(cause, 'CORRUPT')) throw corrupt(path, `entry ${index} was changed: ${cause.message}`);
    throw new TsswarmError('PERMISSION_DENIED', `reading entry ${index} of the log "${path}": ${messageOf(cause)}`, {
      cause,
      hint: 'the file of the keys beside the log is not the one that belongs to it: restore both from the same backup',
    });
  }
}

const checksum = (index: number, bytes: Buffer): number => crc32(bytes.subarray(4), index);

/** @param path of the file that lost data */
export function corrupt(path: string, what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `reading the log "${path}": ${what}`, {
    hint: 'the disk or the file system lost data; restore the state directory from a backup, or leave the cluster and start a new one',
  });
}

/** Id of the key that sealed an entry's payload, hex; undefined: none did. @param bytes the entry's */
export const keyOfEntry = (bytes: Buffer): string | undefined => sealedBy(bytes.subarray(HEADER_BYTES));
