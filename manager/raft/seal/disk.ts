import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import { lockDekRing, lockOf, newDekRing, unlockDekRing } from './dek.ts';
import type { DekRing } from './dek.ts';

/** Where a manager keeps its data-encryption keys: one file, mode 0600, beside its certificate. */
export interface DekDisk {
  /** Whether there is a file. */
  exists(): boolean;
  /** Id of the key that the file needs; undefined: none, or there is no file yet. @throws CORRUPT */
  lock(): string | undefined;
  /**
   * The keys; the first time, new ones, which are on disk when this returns.
   * @param kek from the unlock key, if one was given
   * @throws LOCKED, PERMISSION_DENIED, CORRUPT as unlockDekRing
   */
  load(kek?: Uint8Array): DekRing;
  /** On disk (synced) when it returns; a crash leaves the old file or the new one. @param kek absent: not locked */
  save(ring: DekRing, kek?: Uint8Array): void;
}

/** The keys in `file`. */
export function dekDisk(file: string, random: Random): DekDisk {
  const read = (): Uint8Array | undefined => {
    try {
      return readFileSync(file);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  };
  const disk: DekDisk = {
    exists: () => read() !== undefined,
    lock() {
      const bytes = read();
      return bytes === undefined ? undefined : lockOf(bytes);
    },
    load(kek) {
      const bytes = read();
      if (bytes !== undefined) return unlockDekRing(bytes, kek, random);
      const ring = newDekRing(random);
      disk.save(ring, kek);
      return ring;
    },
    save(ring, kek) {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      const temporary = `${file}.new`;
      rmSync(temporary, { force: true });
      const handle = openSync(temporary, 'wx', 0o600);
      try {
        writeFileSync(handle, lockDekRing(ring, kek, random));
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
      renameSync(temporary, file);
      const folder = openSync(dirname(file), 'r');
      try {
        fsyncSync(folder);
      } finally {
        closeSync(folder);
      }
    },
  };
  return disk;
}
