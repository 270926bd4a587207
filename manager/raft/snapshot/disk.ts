import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { TsswarmError } from '../../../base/errors.ts';

export interface Snapshot {
  /** Index of the last entry that is in it. */
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

/** Snapshots of the state machine: written whole or not at all; the newest good one counts. */
export interface SnapshotStore {
  /** @throws CORRUPT when there are snapshots and none is good */
  latest(): Snapshot | undefined;
  /** On disk when it returns; older ones but one are removed. */
  save(snapshot: Snapshot): void;
}

const HEADER_BYTES = 20;
const KEPT = 2;
const NAME = /^(\d{16})-(\d{16})\.snapshot$/;

/** @param dir made if missing */
export function openSnapshots(dir: string): SnapshotStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const names = (): string[] =>
    readdirSync(dir)
      .filter((name) => NAME.test(name))
      .sort();
  for (const name of readdirSync(dir)) if (name.endsWith('.new')) rmSync(join(dir, name));
  return {
    latest() {
      const all = names();
      for (const name of all.toReversed()) {
        const bytes = readFileSync(join(dir, name));
        if (bytes.length < HEADER_BYTES || bytes.readUInt32BE() !== crc32(bytes.subarray(4))) continue;
        return {
          index: Number(bytes.readBigUInt64BE(4)),
          term: Number(bytes.readBigUInt64BE(12)),
          data: bytes.subarray(HEADER_BYTES),
        };
      }
      if (all.length === 0) return undefined;
      throw new TsswarmError('CORRUPT', `reading the snapshots in "${dir}": none passes its checksum`, {
        hint: 'restore the state directory from a backup',
      });
    },
    save({ index, term, data }) {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeBigUInt64BE(BigInt(index), 4);
      header.writeBigUInt64BE(BigInt(term), 12);
      header.writeUInt32BE(crc32(data, crc32(header.subarray(4))));
      const pad = (value: number): string => String(value).padStart(16, '0');
      const path = join(dir, `${pad(index)}-${pad(term)}.snapshot`);
      const file = openSync(`${path}.new`, 'w', 0o600);
      try {
        writeSync(file, header);
        for (let written = 0; written < data.length;) written += writeSync(file, data, written);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(`${path}.new`, path);
      const folder = openSync(dir, 'r');
      fsyncSync(folder);
      closeSync(folder);
      for (const name of names().slice(0, -KEPT)) rmSync(join(dir, name));
    },
  };
}
