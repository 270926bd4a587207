import { closeSync, constants, mkdirSync, openSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { rename, rmdir } from 'node:fs/promises';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { KeyedQueue } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, errnoOf, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { VolumeCreate, VolumeInfo, Volumes } from '../types.ts';
import type { CopyCalls } from './copy-tree.ts';
import { copyTree } from './copy-tree.ts';
import type { VolumeBacking } from './driver-options.ts';
import { parseDriverOptions } from './driver-options.ts';
import { LayerView } from './layer-view.ts';
import { mountPointsBelow } from './mount-points.ts';
import type { VolumeRecord } from './volume-disk.ts';
import { VolumeDisk } from './volume-disk.ts';

/** The system calls that volumes need and Node lacks. */
export interface VolumeCalls extends CopyCalls {
  mount(source: string, target: string, fstype: string, flags: number, data: string): void;
  umount(path: string, flags: number): void;
}

/** A volume ready to be bound into a container. */
export interface VolumeSource {
  readonly path: string;
  readonly readOnly: boolean;
  /** To be called when the launcher has mounted it. */
  release(): void;
}

const DETACH = 2;
const BIND = 4096;

/** Volumes of the local driver, named and anonymous. */
export class VolumeStore implements Volumes {
  readonly #disk: VolumeDisk;
  readonly #calls: VolumeCalls;
  readonly #clock: Clock;
  readonly #records = new Map<string, VolumeRecord>();
  /** Containers that refer to a volume, running or not. */
  readonly #users = new Map<string, Map<ContainerId, string>>();
  /** Containers that run with a volume or are about to. */
  readonly #running = new Map<string, Set<ContainerId>>();
  readonly #queue = new KeyedQueue();

  constructor(directory: string, calls: VolumeCalls, clock: Clock) {
    this.#disk = new VolumeDisk(directory);
    this.#calls = calls;
    this.#clock = clock;
    for (const record of this.#disk.load()) this.#records.set(record.name, record);
  }

  async ensure(request: VolumeCreate): Promise<VolumeInfo> {
    return this.#queue.run(request.name, async () => {
      const existing = this.#records.get(request.name);
      return this.#info(existing ?? this.#create({ ...request, driver: request.driver || 'local', owner: '' }));
    });
  }

  inspect(name: string): VolumeInfo | undefined {
    const record = this.#records.get(name);
    return record && this.#info(record);
  }

  list(): readonly VolumeInfo[] {
    return [...this.#records.values()].map((record) => this.#info(record));
  }

  async remove(name: string): Promise<void> {
    await this.#queue.run(name, async () => {
      if (!this.#records.has(name)) return;
      const user = this.#users.get(name)?.values().next().value;
      if (user !== undefined) {
        throw new TsswarmError('IN_USE', `removing volume "${name}": container "${user}" uses it`, {
          hint: 'remove the container first',
        });
      }
      this.#unmount(name);
      await this.#disk.remove(name);
      this.#records.delete(name);
    });
  }

  /** A volume without a name of the user's, that is removed with its container. @param name 64 hexadecimal digits */
  async createAnonymous(name: string, owner: ContainerId, request: Omit<VolumeCreate, 'name'>): Promise<VolumeInfo> {
    const labels = { ...request.labels, 'com.docker.volume.anonymous': '' };
    return this.#queue.run(name, async () =>
      this.#info(this.#create({ ...request, name, driver: request.driver || 'local', labels, owner })),
    );
  }

  /** Gives the anonymous volumes of one container to another. */
  adopt(from: ContainerId, to: ContainerId): void {
    for (const record of this.anonymousOf(from)) {
      const moved = { ...record, owner: to };
      this.#disk.write(moved, false);
      this.#records.set(record.name, moved);
    }
  }

  anonymousOf(owner: ContainerId): readonly VolumeRecord[] {
    return [...this.#records.values()].filter((record) => record.owner === owner);
  }

  /** Notes that a container refers to a volume: it cannot be removed any more. @param container its name, for messages */
  attach(name: string, id: ContainerId, container: string): void {
    const users = this.#users.get(name) ?? new Map<ContainerId, string>();
    this.#users.set(name, users.set(id, container));
  }

  /** The container is there, and has no other volumes any more. */
  release(id: ContainerId, kept: ReadonlySet<string>): void {
    for (const [name, users] of this.#users) if (!kept.has(name)) users.delete(id);
    for (const [name, users] of this.#running) {
      if (kept.has(name) || !users.delete(id) || users.size > 0) continue;
      this.#running.delete(name);
      this.#unmount(name);
    }
  }

  /** The container is gone: its references with it, and its anonymous volumes. */
  async forget(id: ContainerId): Promise<void> {
    for (const users of this.#users.values()) users.delete(id);
    for (const { name } of this.anonymousOf(id)) await this.remove(name);
  }

  /** Removes anonymous volumes whose container does not exist. */
  async collect(exists: (id: ContainerId) => boolean): Promise<readonly string[]> {
    const orphans = [...this.#records.values()].filter(({ owner }) => owner !== '' && !exists(owner));
    for (const { name } of orphans) await this.remove(name);
    return orphans.map(({ name }) => name);
  }

  /** Unmounts what no running container uses; after a crash of the daemon. */
  unmountUnused(): void {
    for (const name of this.#records.keys()) if (!this.#running.get(name)?.size) this.#unmount(name);
  }

  /**
   * Gives an empty volume what the image has at `target`: content, owner, mode. A volume that has content, or that a running
   * container could write to meanwhile, is left as it is. A crash leaves it empty or full, never half.
   * @param layers top-most first
   * @throws DISK_FULL, RUNTIME_FAILED
   */
  async fill(name: string, layers: readonly string[], target: string): Promise<void> {
    await this.#queue.run(name, async () => {
      if (this.#running.get(name)?.size || layers.length === 0) return;
      const record = this.#get(name);
      const backing = this.#backing(record);
      try {
        const path = await this.#path(record, backing);
        if (readdirSync(path).length > 0) return;
        const view = new LayerView(layers, (file, attribute) => this.#calls.lgetxattr(file, attribute));
        const from = view.resolve(target);
        if (from === undefined || !from.stat.isDirectory()) return;
        if (backing.kind === 'local') await this.#fillBeside(path, view, from);
        else await copyTree(view, from, Buffer.from(path), this.#calls);
      } catch (error) {
        if (isTsswarmError(error)) throw error;
        const full = errnoOf(error) === 'ENOSPC';
        throw new TsswarmError(
          full ? 'DISK_FULL' : 'RUNTIME_FAILED',
          `filling volume "${name}" from the image's "${target}": ${full ? 'no space is left on the device' : messageOf(error)}`,
          { cause: error },
        );
      } finally {
        this.#unmount(name);
      }
    });
  }

  /**
   * The folder to bind into a container that is about to start. The container counts as running with it from now on, until
   * `noteStopped`, also when this throws.
   * @param subpath a folder inside the volume, "" for all of it; symbolic links in it are refused
   * @param place a path to be made: where the subpath is mounted until `release`, so that no name inside the volume, which
   *   containers may change, is looked up again
   * @throws BIND_SOURCE_MISSING, MOUNT_FAILED, INVALID_INPUT
   */
  async source(name: string, id: ContainerId, subpath: string, place: string): Promise<VolumeSource> {
    return this.#queue.run(name, async () => {
      const record = this.#get(name);
      const backing = this.#backing(record);
      this.noteRunning(name, id);
      const path = await this.#path(record, backing);
      const readOnly = backing.kind === 'bind' && backing.readOnly;
      if (subpath === '') return { path, readOnly, release: () => undefined };
      this.#bindBelow(name, path, subpath, place);
      const release = (): void => {
        this.#calls.umount(place, DETACH);
        rmdirSync(place);
      };
      return { path: place, readOnly, release };
    });
  }

  /** A container runs with the volume: one that was found at the daemon's start, or is about to. */
  noteRunning(name: string, id: ContainerId): void {
    this.#running.set(name, (this.#running.get(name) ?? new Set()).add(id));
  }

  /** The container has ended: volumes that were mounted for it alone are unmounted. */
  noteStopped(id: ContainerId): void {
    for (const [name, users] of this.#running) {
      if (!users.delete(id) || users.size > 0) continue;
      this.#running.delete(name);
      this.#unmount(name);
    }
  }

  #create(fields: Omit<VolumeRecord, 'createdAt'>): VolumeRecord {
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(fields.name)) {
      throw new TsswarmError(
        'INVALID_INPUT',
        `making volume "${fields.name}": malformed name, expected letters, digits, "_", "." and "-"`,
      );
    }
    if (fields.driver !== 'local') {
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `making volume "${fields.name}": no driver "${fields.driver}", expected "local"`,
      );
    }
    const { name, driver, driverOptions, labels, owner } = fields;
    const record = { name, driver, driverOptions, labels, owner, createdAt: this.#clock.now() };
    this.#backing(record);
    this.#disk.create(record);
    this.#records.set(name, record);
    return record;
  }

  #info(record: VolumeRecord): VolumeInfo {
    const backing = this.#backing(record);
    const { name, driver, labels, createdAt } = record;
    const mountpoint = backing.kind === 'bind' ? backing.device : this.#disk.dataPath(name);
    return { name, driver, labels, createdAt, mountpoint };
  }

  #get(name: string): VolumeRecord {
    const record = this.#records.get(name);
    if (record) return record;
    throw new TsswarmError('NOT_FOUND', `mounting volume "${name}": there is no such volume on this node`);
  }

  #backing(record: Pick<VolumeRecord, 'name' | 'driverOptions'>): VolumeBacking {
    return parseDriverOptions(record.name, record.driverOptions);
  }

  /** The folder with the content, mounted if it has to be. */
  async #path({ name }: VolumeRecord, backing: VolumeBacking): Promise<string> {
    const data = this.#disk.dataPath(name);
    if (backing.kind === 'bind') {
      if (statSync(backing.device, { throwIfNoEntry: false }) === undefined) {
        throw new TsswarmError(
          'BIND_SOURCE_MISSING',
          `mounting volume "${name}": its device "${backing.device}" does not exist`,
          {
            hint: 'make the folder, or correct the driver option "device"',
          },
        );
      }
      return backing.device;
    }
    mkdirSync(data, { recursive: true });
    if (backing.kind === 'mount' && mountPointsBelow(data).length === 0) {
      try {
        this.#calls.mount(backing.device, data, backing.fstype, backing.flags, await resolveAddress(backing));
      } catch (error) {
        throw new TsswarmError(
          'MOUNT_FAILED',
          `mounting volume "${name}" of type "${backing.fstype}": ${messageOf(error)}`,
          { cause: error },
        );
      }
    }
    return data;
  }

  #bindBelow(name: string, root: string, subpath: string, place: string): void {
    const fd = openBelow(name, root, subpath);
    try {
      mkdirSync(place);
      this.#calls.mount(`/proc/self/fd/${fd}`, place, '', BIND, '');
    } finally {
      closeSync(fd);
    }
  }

  /** Only what the driver's options mounted: never what somebody else put into the folder. */
  #unmount(name: string): void {
    const record = this.#records.get(name);
    if (record === undefined || this.#backing(record).kind !== 'mount') return;
    for (const point of mountPointsBelow(this.#disk.dataPath(name))) this.#calls.umount(point, DETACH);
  }

  /** Copies into a folder beside the data and puts it in place in one step. */
  async #fillBeside(path: string, view: LayerView, from: NonNullable<ReturnType<LayerView['resolve']>>): Promise<void> {
    const beside = `${path}.filling`;
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(beside, { mode: 0o755 });
    try {
      await copyTree(view, from, Buffer.from(beside), this.#calls);
      await rmdir(path);
      await rename(beside, path);
    } finally {
      rmSync(beside, { recursive: true, force: true });
      mkdirSync(path, { recursive: true, mode: 0o755 });
    }
  }
}

/** mount(2) of nfs and cifs takes addresses only; mount(8) would look the name up, so do we. */
async function resolveAddress({ fstype, data }: { readonly fstype: string; readonly data: string }): Promise<string> {
  const key = fstype.startsWith('nfs') ? 'addr' : fstype === 'cifs' ? 'ip' : undefined;
  const option = key && data.split(',').find((part) => part.startsWith(`${key}=`) || part.startsWith('addr='));
  if (!option) return data;
  const host = option.slice(option.indexOf('=') + 1);
  if (isIP(host)) return data;
  const { address } = await lookup(host);
  return data.replace(option, `${key}=${address}`);
}

/**
 * Opens a folder below `root` step by step without following a symbolic link: what lies in a volume was put there by
 * containers, and a link could lead out of it. The descriptor names the folder whatever is renamed meanwhile.
 */
function openBelow(name: string, root: string, subpath: string): number {
  const parts = subpath.split('/').filter((part) => part !== '' && part !== '.');
  if (subpath.startsWith('/') || parts.includes('..')) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `mounting "${subpath}" of volume "${name}": expected a path relative to the volume, without ".."`,
    );
  }
  // O_PATH (open(2)), which Node has no name for: only a place, no right to read.
  const flags = 0o10000000 | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  let fd = openSync(root, 0o10000000 | constants.O_DIRECTORY);
  for (const part of parts) {
    try {
      const next = openSync(`/proc/self/fd/${fd}/${part}`, flags);
      closeSync(fd);
      fd = next;
    } catch (error) {
      closeSync(fd);
      throw new TsswarmError(
        'BIND_SOURCE_MISSING',
        `mounting "${subpath}" of volume "${name}": "${part}" is not a folder there`,
        {
          cause: error,
          hint: 'a container that uses the whole volume can make it',
        },
      );
    }
  }
  return fd;
}
