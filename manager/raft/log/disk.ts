import { mkdirSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
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

/** LMDB maps this much address space; the file grows only as far as it is used. */
const MAP_BYTES = 8 * 2 ** 30;
const HEADER_BYTES = 13;
/** The numbers on disk are the places here: add at the end only. */
const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration'];

/**
 * Opens the log in `dir`, checking every entry's checksum (LMDB has none of its own) and that no index is missing.
 * @throws CORRUPT with the file and what to do
 */
export function openLog(dir: string): LogStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = `${dir}/log.mdb`;
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
  for (const { key, value } of entries.getRange({})) {
    if (key !== lastIndex + 1) throw corrupt(path, `entry ${lastIndex + 1} is missing`);
    decode(key, value, path);
    lastIndex = key;
  }
  return {
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
        for (const entry of batch) void entries.put(entry.index, encode(entry));
      });
      await root.flushed;
      if (state !== undefined) hardState = { term: state.term, votedFor: state.votedFor };
      if (truncateFrom !== undefined) lastIndex = Math.min(lastIndex, truncateFrom - 1);
      lastIndex = batch.at(-1)?.index ?? lastIndex;
    },
    *read(from, to) {
      for (const { key, value } of entries.getRange({ start: from, end: to + 1 })) yield decode(key, value, path);
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
    close: () => root.close(),
  };
}

/** [crc32 of the rest u32][term u64][kind u8][payload]; the index, which is the key, is under the checksum too. */
function encode({ index, term, kind, payload }: Entry): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  bytes.writeBigUInt64BE(BigInt(term), 4);
  bytes.writeUInt8(KINDS.indexOf(kind), 12);
  bytes.set(payload, HEADER_BYTES);
  bytes.writeUInt32BE(checksum(index, bytes));
  return bytes;
}

function decode(index: number, bytes: Buffer, path: string): Entry {
  const kind = KINDS[bytes[12] ?? KINDS.length];
  if (bytes.length < HEADER_BYTES || kind === undefined || bytes.readUInt32BE() !== checksum(index, bytes)) {
    throw corrupt(path, `entry ${index} fails its checksum`);
  }
  return { index, term: Number(bytes.readBigUInt64BE(4)), kind, payload: Buffer.from(bytes.subarray(HEADER_BYTES)) };
}

const checksum = (index: number, bytes: Buffer): number => crc32(bytes.subarray(4), index);

function corrupt(path: string, what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `reading the log "${path}": ${what}`, {
    hint: 'the disk or the file system lost data; restore the state directory from a backup, or leave the cluster and start a new one',
  });
}
