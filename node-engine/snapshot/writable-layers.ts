import fs from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import { diskError } from './disk-errors.ts';
import { makePrivateDir } from './durable.ts';
import { makeMountPoints } from './mount-points.ts';
import { removeTree } from './remove-tree.ts';

/** The directories of a container's root, for an overlay mount. */
export interface RootDirs {
  /** Read-only layers, top-most first; never empty. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
}

/** The part of the image store that is needed here. */
export interface LayerPaths {
  /** Top-most first. @throws IMAGE_NOT_FOUND */
  layerPaths(imageId: string): readonly string[];
  /** The layer directory whose owner and mode the image's root directory has. @throws IMAGE_NOT_FOUND */
  rootPath(imageId: string): string;
}

/** Containers' own layers. Only directories are made here: the launcher mounts the overlay, where the host never sees it. */
export interface WritableLayers {
  /** Makes an empty writable layer upon an image. @throws IMAGE_NOT_FOUND, ALREADY_EXISTS, DISK_FULL */
  create(id: ContainerId, imageId: string): Promise<RootDirs>;
  /** The directories of a layer that was made before; makes nothing. @throws IMAGE_NOT_FOUND */
  paths(id: ContainerId, imageId: string): RootDirs;
  /** Hands the layer of one container, with what it has written, to another; one that `to` has already is removed. @throws NOT_FOUND */
  adopt(from: ContainerId, to: ContainerId): Promise<void>;
  /** Not existing is success. @throws IN_USE, when something is mounted below */
  remove(id: ContainerId): Promise<void>;
  list(): readonly ContainerId[];
}

export interface WritableLayersOptions {
  /** A directory of its own, on the file system of the containers' data. */
  readonly dir: string;
  /** A directory of its own on the same file system: what lies beneath all layers of every image. */
  readonly mountPoints: string;
  readonly images: LayerPaths;
  /** Removes a tree, never what is mounted in it; by default on this thread, the image store can do it on another. */
  readonly removeTree?: (path: string) => Promise<void>;
}

const TRASH = 'removed-';

/** Opens the writable layers of a directory and removes what a crash left half-removed. */
export async function createWritableLayers(options: WritableLayersOptions): Promise<WritableLayers> {
  const { dir, mountPoints, images } = options;
  const remove = options.removeTree ?? ((path: string) => Promise.resolve(removeTree(path)));
  await makePrivateDir(dir);
  makeMountPoints(mountPoints);
  for (const name of await readdir(dir)) if (name.startsWith(TRASH)) await remove(join(dir, name));
  let trashed = 0;

  const paths = (id: ContainerId, imageId: string): RootDirs => {
    const lower = [...images.layerPaths(imageId), mountPoints];
    return { lower, upper: join(dir, id, 'upper'), work: join(dir, id, 'work') };
  };
  // At once: a call that is handed to a thread costs several times what the kernel takes for it.
  const make = (id: ContainerId, imageId: string): RootDirs => {
    const dirs = paths(id, imageId);
    try {
      fs.mkdirSync(join(dir, id), { mode: 0o710 });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw diskError(error, demand(id, dir));
      throw new TsswarmError('ALREADY_EXISTS', `making the writable layer of container "${id}": it exists`);
    }
    try {
      fs.mkdirSync(dirs.work, { mode: 0o711 });
      fs.mkdirSync(dirs.upper, { mode: 0o755 });
      // The overlay shows the upper directory's owner and mode as those of "/": they shall be the image's.
      const root = fs.statSync(images.rootPath(imageId));
      fs.chownSync(dirs.upper, root.uid, root.gid);
      fs.chmodSync(dirs.upper, root.mode & 0o7777);
    } catch (error) {
      fs.rmSync(join(dir, id), { recursive: true, force: true });
      throw diskError(error, demand(id, dir));
    }
    return dirs;
  };
  const discard = async (id: ContainerId): Promise<void> => {
    const trash = join(dir, `${TRASH}${id}-${process.pid}-${++trashed}`);
    try {
      await rename(join(dir, id), trash);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    await remove(trash);
  };

  return {
    paths,
    create: (id, imageId) => new Promise((resolve) => resolve(make(id, imageId))),
    async adopt(from, to) {
      if (!fs.existsSync(join(dir, from)))
        throw new TsswarmError('NOT_FOUND', `adopting the writable layer of container "${from}": there is none`);
      await discard(to);
      await rename(join(dir, from), join(dir, to));
    },
    remove: discard,
    list() {
      return fs.readdirSync(dir).filter((name) => !name.startsWith(TRASH)) as ContainerId[];
    },
  };
}

function demand(id: ContainerId, directory: string): { action: string; directory: string; neededBytes: number } {
  return { action: `making the writable layer of container "${id}"`, directory, neededBytes: 0 };
}
