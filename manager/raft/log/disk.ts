import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import { sealedBy } from '../seal/sealer.ts';
import type { Sealer } from '../seal/sealer.ts';
import type { Entry, EntryKind, ServerId } from '../types.ts';

/** Term and vote, which must be on disk before they are acted on. */
export interface HardState {
  readonly term: number;
  /** "" is nobody. */
  readonly votedFor: ServerId;
}

/** What one sync brings to disk, all of it or nothing. */
export interface LogBatch {
  readonly hardState?: HardState;
  /** Entries from here on are dropped first. */
  readonly truncateFrom?: number;
  readonly entries: readonly Entry[];
}

/**
 * The replicated log and the hard state of one server. A promise that resolves means: on disk, after power loss too. The
 * caller waits for one write before it starts the next.
 */
export interface LogStore {
  readonly hardState: HardState;
  /** Entries before here were dropped behind a snapshot; `lastIndex + 1` while there are none. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  write(batch: LogBatch): Promise<void>;
  /** Entries with from <= index <= to. @throws CORRUPT naming the entry */
  read(from: number, to: number): Iterable<Entry>;
  /** Drops entries up to `index`. */
  truncatePrefix(index: number): Promise<void>;
  /** Drops all entries: the next one has `index + 1`. */
  reset(index: number): Promise<void>;
  close(): Promise<void>;
}

/** A log whose entries are sealed at rest. Index, term and kind of an entry are not secret, but cannot be changed either. */
export interface SealedLogStore extends LogStore {
  /** Some entries are from before anything was sealed. */
  readonly hasPlainEntries: boolean;
  /**
   * Seals with the newest key what older ones sealed. Nothing else may write meanwhile; a crash leaves some entries as they
   * were.
   */
  reseal(): Promise<void>;
}

/** LMDB maps this much address space; the file grows only as far as it is used. */
const MAP_BYTES = 8 * 2 ** 30;
const HEADER_BYTES = 13;
/** The numbers on disk are the places here: add at the end only. */
const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration'];
/** Added to the kind: the payload is sealed. */
const SEALED = 0x80;
/** Entries sealed anew before others get their turn. */
const RESEALED_AT_ONCE = 128;
const LOG_FILE = 'log.mdb';

/**
 * Opens the log in `dir` as {@link openLog} does, and first writes it anew where entries lie there in the clear: in place
 * LMDB would leave their bytes in pages that it does not use any more.
 */
export async function openSealedLog(dir: string, sealer: Sealer): Promise<SealedLogStore> {
  const log = openLog(dir, sealer);
  if (!log.hasPlainEntries) return log;
  const name = `${LOG_FILE}.sealed`;
  rmSync(`${dir}/${name}`, { force: true });
  const { hardState, firstIndex, lastIndex } = log;
  const copy = openLog(dir, sealer, name);
  await copy.reset(firstIndex - 1);
  await copy.write({ hardState, entries: [...log.read(firstIndex, lastIndex)] });
  await copy.close();
  await log.close();
  renameSync(`${dir}/${name}`, `${dir}/${LOG_FILE}`);
  rmSync(`${dir}/${name}-lock`, { force: true });
  const folder = openSync(dir, 'r');
  fsyncSync(folder);
  closeSync(folder);
  return openLog(dir, sealer);
}

/**
 * Opens the log in `dir`, checking every entry's checksum (LMDB has none of its own) and that no index is missing.
 * @param sealer seals entries; absent: they are written as they are, and sealed ones cannot be read
 * @throws CORRUPT with the file and what to do
 */
export function openLog(dir: string, sealer?: Sealer, name = LOG_FILE): SealedLogStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = `${dir}/${name}`;
  let root: RootDatabase;
  try {
    // Without overlapping sync a transaction's promise resolves only after its pages and the meta page are synced.
    root = open({ path, noSubdir: true, maxDbs: 4, mapSize: MAP_BYTES, overlappingSync: false });
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `opening the log "${path}": ${messageOf(cause)}`, { cause });
  }
  const entries = root.openDB<Buffer, number>({ name: 'entries', encoding: 'binary', keyEncoding: 'uint32' });
  const stable = root.openDB<string, string>({ name: 'stable', encoding: 'json' } as never);
  let hardState: HardState = { term: 0, votedFor: '' };
  const stored = stable.get('hard-state') as unknown as HardState | undefined;
  if (stored !== undefined) hardState = stored;
  let firstIndex = 0;
  let lastIndex = (stable.get('truncated') as unknown as number | undefined) ?? 0;
  firstIndex = lastIndex + 1;
  let hasPlainEntries = false;
  for (const { key, value } of entries.getRange({})) {
    if (key !== lastIndex + 1) throw corrupt(path, `entry ${lastIndex + 1} is missing`);
    check(key, value, path);
    if (!isSealed(value)) hasPlainEntries = true;
    lastIndex = key;
  }
  return {
    hasPlainEntries: hasPlainEntries && sealer !== undefined,
    get hardState() {
      return hardState;
    },
    get firstIndex() {
      return firstIndex;
    },
    get lastIndex() {
      return lastIndex;
    },
    async write({ hardState: state, truncateFrom, entries: batch }) {
      await root.transaction(() => {
        if (state !== undefined) void stable.put('hard-state', state as never);
        if (truncateFrom !== undefined)
          for (const key of entries.getKeys({ start: truncateFrom })) void entries.remove(key);
        for (const entry of batch) void entries.put(entry.index, encode(entry, sealer));
      });
      await root.flushed;
      if (state !== undefined) hardState = { term: state.term, votedFor: state.votedFor };
      if (truncateFrom !== undefined) lastIndex = Math.min(lastIndex, truncateFrom - 1);
      lastIndex = batch.at(-1)?.index ?? lastIndex;
    },
    *read(from, to) {
      for (const { key, value } of entries.getRange({ start: from, end: to + 1 }))
        yield decode(key, value, path, sealer);
    },
    async truncatePrefix(index) {
      await root.transaction(() => {
        void stable.put('truncated', index as never);
        for (const key of entries.getKeys({ end: index + 1 })) void entries.remove(key);
      });
      await root.flushed;
      firstIndex = index + 1;
    },
    async reset(index) {
      await root.transaction(() => {
        void stable.put('truncated', index as never);
        for (const key of entries.getKeys({})) void entries.remove(key);
      });
      await root.flushed;
      firstIndex = index + 1;
      lastIndex = index;
    },
    async reseal() {
      if (sealer === undefined) return;
      for (let from = firstIndex; from <= lastIndex; from += RESEALED_AT_ONCE) {
        const older = [...entries.getRange({ start: from, end: from + RESEALED_AT_ONCE })].filter(
          ({ value }) => sealedBy(value.subarray(HEADER_BYTES)) !== sealer.keyId,
        );
        await root.transaction(() => {
          for (const { key, value } of older) void entries.put(key, encode(decode(key, value, path, sealer), sealer));
        });
      }
      await root.flushed;
    },
    close: () => root.close(),
  };
}

/** [crc32 of the rest u32][term u64][kind u8][payload]; the index, which is the key, is under the checksum too. */
function encode({ index, term, kind, payload }: Entry, sealer: Sealer | undefined): Buffer {
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

const isSealed = (bytes: Buffer): boolean => ((bytes[12] ?? 0) & SEALED) !== 0;

/** The number of the entry's kind, when its bytes are what was written. @throws CORRUPT */
function check(index: number, bytes: Buffer, path: string): number {
  const code = (bytes[12] ?? KINDS.length) & ~SEALED;
  if (bytes.length < HEADER_BYTES || code >= KINDS.length || bytes.readUInt32BE() !== checksum(index, bytes)) {
    throw corrupt(path, `entry ${index} fails its checksum`);
  }
  return code;
}

/** @throws CORRUPT; PERMISSION_DENIED when it is sealed with a key that is not here */
function decode(index: number, bytes: Buffer, path: string, sealer: Sealer | undefined): Entry {
  const code = check(index, bytes, path);
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

function corrupt(path: string, what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `reading the log "${path}": ${what}`, {
    hint: 'the disk or the file system lost data; restore the state directory from a backup, or leave the cluster and start a new one',
  });
}
