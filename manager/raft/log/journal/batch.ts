import type { HardState } from '../types.ts';

/** A write of the log as the journal has it: entries as the bytes that the log's database has of them. */
export interface JournalBatch {
  readonly hardState?: HardState;
  /** Entries from here on are dropped first. */
  readonly truncateFrom?: number;
  readonly entries: readonly (readonly [index: number, bytes: Uint8Array])[];
}

const HAS_HARD_STATE = 1;
const HAS_TRUNCATION = 2;
const ENTRY_HEADER_BYTES = 12;

/**
 * Layout: flags u8; with a hard state its term u64, the length of the vote u16 and the vote; with a truncation its index
 * u64; then for each entry its index u64, its length u32 and its bytes.
 * @returns the bytes, in pieces
 */
export function encodeBatch({ hardState, truncateFrom, entries }: JournalBatch): Buffer[] {
  const parts: Buffer[] = [];
  parts.push(Buffer.of((hardState ? HAS_HARD_STATE : 0) | (truncateFrom === undefined ? 0 : HAS_TRUNCATION)));
  if (hardState !== undefined) {
    const vote = Buffer.from(hardState.votedFor);
    const head = Buffer.alloc(10);
    head.writeBigUInt64BE(BigInt(hardState.term));
    head.writeUInt16BE(vote.length, 8);
    parts.push(head, vote);
  }
  if (truncateFrom !== undefined) {
    const head = Buffer.alloc(8);
    head.writeBigUInt64BE(BigInt(truncateFrom));
    parts.push(head);
  }
  for (const [index, bytes] of entries) {
    const head = Buffer.allocUnsafe(ENTRY_HEADER_BYTES);
    head.writeBigUInt64BE(BigInt(index));
    head.writeUInt32BE(bytes.length, 8);
    parts.push(head, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
  return parts;
}

/** Reads what {@link encodeBatch} wrote; the bytes were checked before. */
export function decodeBatch(content: Buffer): JournalBatch {
  let at = 0;
  const number = (): number => {
    at += 8;
    return Number(content.readBigUInt64BE(at - 8));
  };
  const flags = content[at++] ?? 0;
  let hardState: HardState | undefined;
  if ((flags & HAS_HARD_STATE) !== 0) {
    const term = number();
    const end = at + 2 + content.readUInt16BE(at);
    hardState = { term, votedFor: content.toString('utf8', at + 2, end) };
    at = end;
  }
  const truncateFrom = (flags & HAS_TRUNCATION) === 0 ? undefined : number();
  const entries: [number, Uint8Array][] = [];
  while (at < content.length) {
    const index = number();
    const start = at + 4;
    at = start + content.readUInt32BE(at);
    entries.push([index, content.subarray(start, at)]);
  }
  return {
    ...(hardState === undefined ? {} : { hardState }),
    ...(truncateFrom === undefined ? {} : { truncateFrom }),
    entries,
  };
}
