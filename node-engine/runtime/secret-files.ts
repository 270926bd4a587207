import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { FileContent } from '../types.ts';
import { mountPointsBelow } from '../volume/mount-points.ts';
import type { Difference } from './drift/difference.ts';
import type { MountCalls } from './ports.ts';
import type { FilePlace } from './record.ts';
import { keyOf, placeOf } from './record.ts';

const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
const DETACH = 2;
/** Beside each file lies what it was made with, so that a change by hand is seen also by a daemon that has not written it. */
const SEAL = '.seal';

/**
 * Secrets and configs of all containers, on one tmpfs that exists while any container has some. Without swap where the
 * kernel can do that (6.4), so that they never reach a disk. Every method is one synchronous step: mounting and unmounting
 * cannot overlap.
 */
export class SecretFiles {
  readonly #directory: string;
  readonly #calls: MountCalls;

  constructor(directory: string, calls: MountCalls) {
    this.#directory = directory;
    this.#calls = calls;
  }

  /** A file of a container. @param key as {@link keyOf} gives it */
  path(id: ContainerId, key: string): string {
    return join(this.#directory, id, key);
  }

  /**
   * Puts down what a container shall have beside what it has: content that is there already is kept, whose file stays the same.
   * @param known what it has
   * @returns where each one is
   */
  stage(id: ContainerId, files: readonly FileContent[], known: readonly FilePlace[]): readonly FilePlace[] {
    if (files.length === 0) return [];
    this.#mount();
    mkdirSync(join(this.#directory, id), { mode: 0o700, recursive: true });
    return files.map((file) => {
      const index = known.findIndex(({ target }) => target === file.target);
      const place = known[index];
      if (place !== undefined && this.#holds(this.path(id, keyOf(place, index)), file))
        return { ...placeOf(file), key: keyOf(place, index) };
      const key = randomBytes(8).toString('hex');
      this.#writeOne(this.path(id, key), file);
      return { ...placeOf(file), key };
    });
  }

  /** Removes what a container has no more. */
  prune(id: ContainerId, kept: readonly FilePlace[]): void {
    const keys = new Set(kept.map(keyOf));
    if (!this.#list().includes(id)) return;
    for (const name of readdirSync(join(this.#directory, id)))
      if (!keys.has(name.replace(SEAL, ''))) rmSync(join(this.#directory, id, name), { force: true });
    if (kept.length === 0) this.remove(id);
  }

  /**
   * Files that are not as they were put down. @param contents of the files, as far as they are known: one that was changed by hand is
   * written again where it is, for it is mounted there
   */
  changed(id: ContainerId, files: readonly FilePlace[], contents: readonly FileContent[]): readonly Difference[] {
    return files.flatMap((file, index): readonly Difference[] => {
      const path = this.path(id, keyOf(file, index));
      const seal = readIfThere(path + SEAL)?.toString();
      const now = sealOf(path);
      // Made by a daemon that put down no seals.
      if (seal === undefined || seal === now) return [];
      const field = `file ${file.target}`;
      const content = contents.find((one) => one.target === file.target && sealFor(one) === seal);
      const [expected, found] = ['as it was put down', now === '' ? 'removed' : 'changed'];
      if (content === undefined) return [{ field, expected, found, tolerated: 'its contents are not at hand' }];
      // A file that was removed is another one now, which is not mounted: nobody sees it.
      if (now === '') return [{ field, expected, found, tolerated: 'the container has the removed one open' }];
      return [{ field, expected, found, mend: () => this.#writeOne(path, content) }];
    });
  }

  #holds(path: string, { data, uid, gid, mode }: FileContent): boolean {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.uid !== uid || stat.gid !== gid || (stat.mode & 0o7777) !== mode) return false;
    return readFileSync(path).equals(data);
  }

  #writeOne(path: string, { data, uid, gid, mode }: FileContent): void {
    writeFileSync(path, data, { mode: 0o600 });
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    writeFileSync(path + SEAL, sealFor({ data, uid, gid, mode }), { mode: 0o600 });
  }

  write(id: ContainerId, files: readonly FileContent[]): void {
    if (files.length === 0) return;
    this.#mount();
    // Nobody but root may list them here; in a container each is reached through its own mount.
    mkdirSync(join(this.#directory, id), { mode: 0o700 });
    files.forEach((file, index) => this.#writeOne(this.path(id, String(index)), file));
  }

  /** Whether all are still there: after a reboot they are not. */
  has(id: ContainerId, files: readonly FilePlace[]): boolean {
    return files.every((file, index) => existsSync(this.path(id, keyOf(file, index))));
  }

  remove(id: ContainerId): void {
    rmSync(join(this.#directory, id), { recursive: true, force: true });
    this.#unmountIfEmpty();
  }

  /** Removes those of containers that do not exist. */
  collect(exists: (id: ContainerId) => boolean): void {
    for (const id of this.#list()) if (!exists(id)) rmSync(join(this.#directory, id), { recursive: true, force: true });
    this.#unmountIfEmpty();
  }

  #list(): readonly ContainerId[] {
    try {
      return readdirSync(this.#directory) as ContainerId[];
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  #mount(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    if (mountPointsBelow(this.#directory).length > 0) return;
    const mount = (options: string): void =>
      this.#calls.mount('tmpfs', this.#directory, 'tmpfs', NOSUID_NODEV_NOEXEC, `mode=700,size=256m${options}`);
    try {
      mount(',noswap');
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') throw error;
      mount('');
    }
  }

  #unmountIfEmpty(): void {
    if (!existsSync(this.#directory) || this.#list().length > 0) return;
    for (const point of mountPointsBelow(this.#directory)) this.#calls.umount(point, DETACH);
    rmdirSync(this.#directory);
  }
}

const sealFor = ({ data, uid, gid, mode }: Pick<FileContent, 'data' | 'uid' | 'gid' | 'mode'>): string =>
  `${createHash('sha256').update(data).digest('hex')} ${uid} ${gid} ${mode}`;

/** What the seal of a file would be that is as it is now; empty: it is gone. */
function sealOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  const data = readIfThere(path);
  if (stat === undefined || data === undefined) return '';
  return sealFor({ data, uid: stat.uid, gid: stat.gid, mode: stat.mode & 0o7777 });
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
