import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { TsswarmError } from '../../../base/errors.ts';
import { decodeConfiguration, encodeConfiguration } from '../core/configuration.ts';
import type { Configuration, SnapshotMeta } from '../types.ts';

export interface Snapshot extends Omit<SnapshotMeta, 'configuration'> {
  /** Undefined in a snapshot from before there were members: its cluster has one. */
  readonly configuration: Configuration | undefined;
  readonly data: Uint8Array;
}

/** Snapshots of the state machine: written whole or not at all; the newest good one counts. */
export interface SnapshotStore {
  /** @throws CORRUPT when there are snapshots and none is good */
  latest(): Snapshot | undefined;
  /** The snapshot of that index, if it is still there and good. */
  load(index: number): Promise<Snapshot | undefined>;
  /** On disk when it resolves; older ones are removed but for as many as are kept. */
  save(meta: SnapshotMeta, data: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
}

/** Version 1: [crc32 of the rest u32][index u64][term u64][data]. */
const V1_HEADER_BYTES = 20;
/** Version 2 has after that: [index of the configuration u64][its length u32][configuration], then the data. */
const V2_HEADER_BYTES = 32;
const NAME = /^(\d{16})-(\d{16})(\.v2)?\.snapshot$/;

/**
 * @param dir made if missing
 * @param older how many are kept beside the newest
 */
export function openSnapshots(dir: string, older: () => number = () => 1): SnapshotStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(dir)) if (name.endsWith('.new')) rmSync(join(dir, name));
  return {
    latest() {
      const all = readdirSync(dir)
        .filter((name) => NAME.test(name))
        .sort();
      for (const name of all.toReversed()) {
        const snapshot = decode(name, readFileSync(join(dir, name)));
        if (snapshot !== undefined) return snapshot;
      }
      if (all.length === 0) return undefined;
      throw new TsswarmError('CORRUPT', `reading the snapshots in "${dir}": none passes its checksum`, {
        hint: 'restore the state directory from a backup',
      });
    },
    async load(index) {
      const name = (await readdir(dir)).find((file) => Number(NAME.exec(file)?.[1] ?? -1) === index);
      return name === undefined ? undefined : decode(name, await readFile(join(dir, name)));
    },
    async save({ index, term, configuration }, data) {
      const members = encodeConfiguration(configuration.servers);
      const header = Buffer.alloc(V2_HEADER_BYTES + members.length);
      header.writeBigUInt64BE(BigInt(index), 4);
      header.writeBigUInt64BE(BigInt(term), 12);
      header.writeBigUInt64BE(BigInt(configuration.index), 20);
      header.writeUInt32BE(members.length, 28);
      header.set(members, V2_HEADER_BYTES);
      let checksum = crc32(header.subarray(4));
      const path = join(dir, `${pad(index)}-${pad(term)}.v2.snapshot`);
      const file = await open(`${path}.new`, 'w', 0o600);
      try {
        await file.appendFile(header);
        for await (const chunk of data) {
          checksum = crc32(chunk, checksum);
          await file.appendFile(chunk);
        }
        const first = Buffer.alloc(4);
        first.writeUInt32BE(checksum);
        await file.write(first, 0, 4, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
      const folder = await open(dir, 'r');
      await folder.sync();
      await folder.close();
      const all = (await readdir(dir)).filter((name) => NAME.test(name)).sort();
      for (const name of all.slice(0, -(1 + older()))) await rm(join(dir, name));
    },
  };
}

const pad = (value: number): string => String(value).padStart(16, '0');

/** Undefined when the bytes are not what was written. */
function decode(name: string, bytes: Buffer): Snapshot | undefined {
  if (bytes.length < V1_HEADER_BYTES || bytes.readUInt32BE() !== crc32(bytes.subarray(4))) return undefined;
  const index = Number(bytes.readBigUInt64BE(4));
  const term = Number(bytes.readBigUInt64BE(12));
  if (NAME.exec(name)?.[3] === undefined) {
    return { index, term, configuration: undefined, data: bytes.subarray(V1_HEADER_BYTES) };
  }
  const end = V2_HEADER_BYTES + bytes.readUInt32BE(28);
  const servers = decodeConfiguration(bytes.subarray(V2_HEADER_BYTES, end));
  const configuration = { index: Number(bytes.readBigUInt64BE(20)), servers };
  return { index, term, configuration, data: bytes.subarray(end) };
}
