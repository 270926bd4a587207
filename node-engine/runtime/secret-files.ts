import { chownSync, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { FileContent } from '../types.ts';
import { mountPointsBelow } from '../volume/mount-points.ts';
import type { MountCalls } from './ports.ts';

const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
const DETACH = 2;

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

  /** The file of number `index` of a container. */
  path(id: ContainerId, index: number): string {
    return join(this.#directory, id, String(index));
  }

  write(id: ContainerId, files: readonly FileContent[]): void {
    if (files.length === 0) return;
    this.#mount();
    // Nobody but root may list them here; in a container each is reached through its own mount.
    mkdirSync(join(this.#directory, id), { mode: 0o700 });
    files.forEach(({ data, uid, gid, mode }, index) => {
      const path = this.path(id, index);
      writeFileSync(path, data, { mode: 0o600 });
      chownSync(path, uid, gid);
      chmodSync(path, mode);
    });
  }

  /** Whether all are still there: after a reboot they are not. */
  has(id: ContainerId, count: number): boolean {
    for (let index = 0; index < count; index++) if (!existsSync(this.path(id, index))) return false;
    return true;
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
