import { join } from 'node:path';
import { KeyedQueue } from '../../base/async.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { syncfs } from '../native/addon.ts';
import type { ApplyLimits } from '../snapshot/apply.ts';
import { diskError } from '../snapshot/disk-errors.ts';
import { makePrivateDir } from '../snapshot/durable.ts';
import { LayerStore } from '../snapshot/layer-store.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ImageInfo } from '../types.ts';
import { BlobStore } from './blobs.ts';
import { ImageCatalog } from './catalog.ts';
import type { CatalogImage } from './catalog.ts';
import { parseConfig } from './config.ts';
import { LeaseBook } from './leases.ts';
import type { Lease } from './leases.ts';
import { MAX_CONFIG_BYTES } from './manifest.ts';
import { readRecords, writeRecords } from './records.ts';
import type { ImageRecord } from './records.ts';

export interface CoreOptions {
  readonly dir: string;
  readonly layersDir: string;
  readonly logger: Logger;
  readonly limits?: ApplyLimits;
}

/** An image that has just been pulled, loaded or built; its blobs and layers are here. */
export interface Arrival {
  readonly id: string;
  readonly names: readonly string[];
  readonly repoDigests: readonly string[];
  readonly digest: string;
  readonly manifests: readonly string[];
  readonly layers: readonly LayerInfo[];
}

/**
 * What pull, load and build share: blobs, unpacked layers and the list of images, with the one rule that keeps them whole.
 * An image enters the list after everything it refers to is on the disk, and a thing is removed only when no image, root
 * or lease leads to it. So a crash at any point leaves complete images, and garbage that the next collection finds.
 */
export class ImageCore {
  readonly blobs: BlobStore;
  readonly layers: LayerStore;
  readonly logger: Logger;
  readonly #recordsPath: string;
  readonly #leases = new LeaseBook();
  readonly #roots: (() => Iterable<string>)[] = [];
  readonly #changes = new KeyedQueue();
  #catalog = new ImageCatalog();

  private constructor(blobs: BlobStore, layers: LayerStore, recordsPath: string, logger: Logger) {
    this.blobs = blobs;
    this.layers = layers;
    this.logger = logger;
    this.#recordsPath = recordsPath;
  }

  /** @throws CORRUPT, when the list of images cannot be understood; an image with a part missing is dropped and logged */
  static async open(options: CoreOptions): Promise<ImageCore> {
    const { dir, layersDir, logger, limits } = options;
    await makePrivateDir(dir);
    const blobs = await BlobStore.open(join(dir, 'blobs'), join(dir, 'tmp'));
    const layers = await LayerStore.open({ dir: layersDir, logger, ...(limits && { limits }) });
    const core = new ImageCore(blobs, layers, join(dir, 'images.json'), logger);
    for (const record of await readRecords(core.#recordsPath)) {
      try {
        core.#catalog.put(await core.#complete(record));
      } catch (error) {
        logger.warn('an image is damaged and has been dropped: pull it again', {
          imageId: record.id,
          names: record.names.join(' '),
          reason: messageOf(error),
        });
      }
    }
    return core;
  }

  get catalog(): ImageCatalog {
    return this.#catalog;
  }

  lease(): Lease {
    return this.#leases.open();
  }

  addRoots(roots: () => Iterable<string>): void {
    this.#roots.push(roots);
  }

  /** @throws IMAGE_NOT_FOUND */
  image(id: string): CatalogImage {
    const image = this.#catalog.get(id);
    if (image === undefined)
      throw new TsswarmError('IMAGE_NOT_FOUND', `looking up the image "${id}": it is not on this node`);
    return image;
  }

  /** The unpacked layers of a stack of diff ids, lowest first. @throws NOT_FOUND */
  stack(diffIds: readonly string[]): readonly LayerInfo[] {
    const layers: LayerInfo[] = [];
    for (const diffId of diffIds) {
      const layer = this.layers.find(diffId, layers);
      if (layer === undefined)
        throw new TsswarmError('NOT_FOUND', `looking up the layer "${diffId}": it is not on this node`);
      layers.push(layer);
    }
    return layers;
  }

  /**
   * Enters an image, or adds names and digests to the one that is here. Names are taken from other images.
   * @param action for messages
   */
  async register(arrival: Arrival, action: string): Promise<ImageInfo> {
    try {
      // One sync for all the files of all layers, instead of one a file.
      await syncfs(this.layers.dir);
      return await this.change(async (catalog) => {
        const present = catalog.get(arrival.id)?.record;
        const image = await this.#complete({
          id: arrival.id,
          names: union(present?.names, arrival.names),
          repoDigests: union(present?.repoDigests, arrival.repoDigests),
          digest: arrival.digest === '' ? (present?.digest ?? '') : arrival.digest,
          manifests: arrival.manifests,
          layers: arrival.layers.map((layer) => layer.key),
        });
        catalog.put(image);
        return () => infoOf(this.image(arrival.id));
      });
    } catch (error) {
      throw diskError(error, { action, directory: this.blobs.dir, neededBytes: 0 });
    }
  }

  /**
   * Changes the list of images: `plan` changes a copy, which becomes the list when it is on the disk. Changes come one
   * after another.
   * @returns what the function that `plan` gives back returns, called when the change holds
   */
  async change<T>(plan: (catalog: ImageCatalog) => Promise<() => T> | (() => T)): Promise<T> {
    return await this.#changes.run('', async () => {
      const next = this.#catalog.clone();
      const result = await plan(next);
      await writeRecords(this.#recordsPath, next.records());
      this.#catalog = next;
      return result();
    });
  }

  /** Removes what nothing leads to. @returns bytes of packed data that went */
  async collect(): Promise<number> {
    // Marking and taking away happen in one turn, so that nobody can begin to use what is being removed.
    const keep = new Set<string>();
    for (const { record, layers } of this.#catalog.list()) {
      for (const digest of [record.id, ...record.manifests]) keep.add(digest);
      for (const layer of layers) keep.add(layer.key);
    }
    for (const roots of this.#roots) for (const diffId of roots()) keep.add(diffId);
    const kept = (layer: LayerInfo): boolean =>
      keep.has(layer.key) || keep.has(layer.diffId) || this.#leases.holds(layer.diffId);
    const garbage = this.layers.list().filter((layer) => !kept(layer));
    for (const layer of this.layers.list()) if (kept(layer)) keep.add(layer.packed.digest);
    const blobs = this.blobs.digests().filter((digest) => !keep.has(digest) && !this.#leases.holds(digest));
    const bytes = blobs.reduce((sum, digest) => sum + (this.blobs.size(digest) ?? 0), 0);
    await Promise.all([this.layers.remove(garbage), this.blobs.remove(blobs)]);
    return bytes;
  }

  async close(): Promise<void> {
    await this.layers.close();
  }

  /** @throws NOT_FOUND, CORRUPT, when a part of the image is missing or damaged */
  async #complete(record: ImageRecord): Promise<CatalogImage> {
    const document = parseConfig(
      await this.blobs.read(record.id, MAX_CONFIG_BYTES),
      `the config of image "${record.id}"`,
    );
    const layers = record.layers.map((key) => {
      const layer = this.layers.get(key);
      if (layer === undefined)
        throw new TsswarmError('NOT_FOUND', `looking up the layer "${key}": it is not on this node`);
      if (!this.blobs.has(layer.packed.digest))
        throw new TsswarmError('NOT_FOUND', `looking up the blob "${layer.packed.digest}": it is not on this node`);
      return layer;
    });
    return { record, document, layers };
  }
}

/** What the engine's door says about an image. */
export function infoOf({ record, document, layers }: CatalogImage): ImageInfo {
  return {
    id: record.id,
    names: record.names,
    digest: record.digest,
    createdAt: document.createdAt,
    sizeBytes: layers.reduce((sum, layer) => sum + layer.sizeBytes, 0),
    architecture: document.platform.architecture,
    config: document.config,
    layers: document.diffIds,
  };
}

function union(present: readonly string[] | undefined, added: readonly string[]): readonly string[] {
  return [...new Set([...(present ?? []), ...added])];
}
