import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { TsswarmError } from '../../../base/errors.ts';
import type { Sealer } from '../seal/sealer.ts';
import type { SnapshotMeta } from '../types.ts';
import {
  HEADER_BYTES,
  STEP_BYTES,
  headerOf,
  plainParts,
  readSnapshot,
  sealedParts,
  snapshotSealedBy,
} from './format.ts';
import type { Snapshot, SnapshotOrigin, SnapshotVersion } from './format.ts';

export type { Snapshot } from './format.ts';

/** Snapshots of the state machine: written whole or not at all; the newest good one counts. */
export interface SnapshotStore {
  /** @throws CORRUPT when there are snapshots and none is good */
  latest(): Snapshot | undefined;
  /** The snapshot of that index, if it is still there and good. */
  load(index: number): Promise<Snapshot | undefined>;
  /** On disk when it resolves; older ones are removed but for as many as are kept. */
  save(meta: SnapshotMeta, data: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
}

/** Snapshots that are sealed at rest. */
export interface SealedSnapshotStore extends SnapshotStore {
  /** Seals with the newest key what older ones sealed, or none did. No snapshot may be saved meanwhile. */
  reseal(): Promise<void>;
}

const NAME = /^(\d{16})-(\d{16})(\.v([23]))?\.snapshot$/;
/** Enough of a file to see which key sealed it. */
const START_BYTES = 128;

export interface SnapshotOptions {
  /** How many are kept beside the newest; default 1. */
  readonly older?: () => number;
  /** Seals snapshots; absent: they are written as they are, and sealed ones cannot be read. */
  readonly sealer?: Sealer;
}

/** @param dir made if missing */
export function openSnapshots(dir: string, { older = () => 1, sealer }: SnapshotOptions = {}): SealedSnapshotStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(dir)) if (name.endsWith('.new')) rmSync(join(dir, name));
  const load = async (name: string): Promise<Snapshot | undefined> => {
    const steps = read(name, await readFile(join(dir, name)), sealer);
    for (;;) {
      const { done, value } = steps.next();
      if (done === true) return value;
      await nextTurn();
    }
  };
  const write = async (meta: SnapshotOrigin, data: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> => {
    const name = `${pad(meta.index)}-${pad(meta.term)}.v${sealer === undefined ? 2 : 3}.snapshot`;
    const path = join(dir, name);
    const header = headerOf(meta);
    let checksum = crc32(header.subarray(4));
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.appendFile(header);
      for await (const part of sealer === undefined ? plainParts(meta, data) : sealedParts(meta, data, sealer)) {
        checksum = crc32(part, checksum);
        await file.appendFile(part);
      }
      const first = Buffer.alloc(4);
      first.writeUInt32BE(checksum);
      await file.write(first, 0, 4, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    await syncFolder(dir);
  };
  return {
    latest() {
      const all = snapshotsIn(readdirSync(dir));
      for (const name of all.toReversed()) {
        const snapshot = atOnce(name, readFileSync(join(dir, name)), sealer);
        if (snapshot !== undefined) return snapshot;
      }
      if (all.length === 0) return undefined;
      throw new TsswarmError('CORRUPT', `reading the snapshots in "${dir}": none passes its checksum`, {
        hint: 'restore the state directory from a backup',
      });
    },
    async load(index) {
      const name = snapshotsIn(await readdir(dir)).findLast((file) => Number(NAME.exec(file)?.[1] ?? -1) === index);
      return name === undefined ? undefined : load(name);
    },
    async save(meta, data) {
      await write(meta, data);
      const all = snapshotsIn(await readdir(dir));
      for (const name of all.slice(0, -(1 + older()))) await rm(join(dir, name));
    },
    async reseal() {
      if (sealer === undefined) return;
      for (const name of snapshotsIn(await readdir(dir))) {
        if ((await sealedWith(join(dir, name), versionOf(name))) === sealer.keyId) continue;
        const snapshot = await load(name);
        // One that is bad is of no use with any key.
        if (snapshot === undefined) continue;
        await write(snapshot, [snapshot.data]);
        if (versionOf(name) !== 3) await rm(join(dir, name));
      }
      await syncFolder(dir);
    },
  };
}

const pad = (value: number): string => String(value).padStart(16, '0');

const snapshotsIn = (names: readonly string[]): string[] => names.filter((name) => NAME.test(name)).sort();

const versionOf = (name: string): SnapshotVersion => Number(NAME.exec(name)?.[4] ?? 1) as SnapshotVersion;

function atOnce(name: string, bytes: Buffer, sealer: Sealer | undefined): Snapshot | undefined {
  const steps = read(name, bytes, sealer);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** Step by step; undefined when the bytes are not what was written. */
function* read(name: string, bytes: Buffer, sealer: Sealer | undefined): Generator<void, Snapshot | undefined> {
  if (bytes.length < HEADER_BYTES) return undefined;
  let checksum = 0;
  for (let at = 4; at < bytes.length; at += STEP_BYTES) {
    checksum = crc32(bytes.subarray(at, at + STEP_BYTES), checksum);
    yield;
  }
  return bytes.readUInt32BE() === checksum ? yield* readSnapshot(versionOf(name), bytes, sealer) : undefined;
}

async function sealedWith(path: string, version: SnapshotVersion): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(START_BYTES), 0, START_BYTES, 0);
    return snapshotSealedBy(version, buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  await folder.sync();
  await folder.close();
}
