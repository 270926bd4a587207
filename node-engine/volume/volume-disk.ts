import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { Labels } from '../../proto/types/index.ts';
import { mountPointsBelow } from './mount-points.ts';

/** What is kept of a volume beside its content. */
export interface VolumeRecord {
  readonly name: string;
  readonly driver: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly labels: Labels;
  readonly createdAt: number;
  /** The container an anonymous volume belongs to; empty: a named volume. */
  readonly owner: ContainerId | '';
}

/** The first letter keeps hidden and work folders apart from volumes. */
const REMOVED = '.removed-';

/**
 * Volumes on disk: `<directory>/<name>/volume.json` and the content in `<name>/_data`, the layout Docker's users know. A
 * record is on the disk before a container can use the volume; content without a record is never thrown away.
 */
export class VolumeDisk {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o711 });
  }

  dataPath(name: string): string {
    return join(this.#directory, name, '_data');
  }

  /** All volumes; one whose record is lost is a local volume without labels. Finishes removals that a crash cut short. */
  load(): VolumeRecord[] {
    const records: VolumeRecord[] = [];
    for (const name of readdirSync(this.#directory)) {
      if (name.startsWith(REMOVED)) void this.#removeTree(join(this.#directory, name)).catch(() => undefined);
      else records.push(this.#read(name));
    }
    return records;
  }

  /** Makes the folder and writes the record, durably. @throws DISK_FULL */
  create(record: VolumeRecord): void {
    mkdirSync(this.dataPath(record.name), { recursive: true, mode: 0o755 });
    this.write(record, true);
  }

  /** Replaces the record. @param durable whether it must survive a power cut from now on */
  write(record: VolumeRecord, durable: boolean): void {
    const path = join(this.#directory, record.name, 'volume.json');
    const fd = openSync(`${path}.new`, 'w', 0o600);
    try {
      writeSync(fd, JSON.stringify(record));
      if (durable) fsyncSync(fd);
    } catch (error) {
      if (errnoOf(error) !== 'ENOSPC') throw error;
      throw new TsswarmError('DISK_FULL', `making volume "${record.name}": no space is left on the device`, {
        cause: error,
      });
    } finally {
      closeSync(fd);
    }
    renameSync(`${path}.new`, path);
  }

  /** Removes record and content: from the moment this has begun the volume is gone, also after a crash. */
  async remove(name: string): Promise<void> {
    const from = join(this.#directory, name);
    const mounted = mountPointsBelow(from);
    if (mounted.length > 0) {
      throw new TsswarmError('IN_USE', `removing volume "${name}": "${mounted[0]}" is a mount point`, {
        hint: 'unmount it: what is mounted there would be deleted as well',
      });
    }
    const removed = join(this.#directory, `${REMOVED}${name}`);
    try {
      await rename(from, removed);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    await this.#removeTree(removed);
  }

  async #removeTree(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  }

  #read(name: string): VolumeRecord {
    const fallback = { driver: 'local', driverOptions: {}, labels: {}, createdAt: 0, owner: '' as const };
    try {
      const stored = JSON.parse(
        readFileSync(join(this.#directory, name, 'volume.json'), 'utf8'),
      ) as Partial<VolumeRecord>;
      return { ...fallback, ...stored, name };
    } catch {
      rmSync(join(this.#directory, name, 'volume.json.new'), { force: true });
      return { ...fallback, name };
    }
  }
}
