import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ApplyLimits } from '../snapshot/apply.ts';
import { diskError } from '../snapshot/disk-errors.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ImageInfo, Images } from '../types.ts';
import { digestOf } from './blobs.ts';
import { parseConfig } from './config.ts';
import { ImageCore, infoOf } from './core.ts';
import { parseJsonObject } from './json.ts';
import type { JsonObject } from './json.ts';
import { packLayer } from './layer-ingest.ts';
import type { Lease } from './leases.ts';
import { loadArchive } from './load.ts';
import { MAX_CONFIG_BYTES, composeManifest } from './manifest.ts';
import type { Descriptor } from './manifest.ts';
import { OCI_CONFIG } from './media-types.ts';
import { Puller } from './pull.ts';
import { formatReference, parseReference } from '../../base/image-reference.ts';

export interface ImageStoreOptions {
  /** <state-dir>/engine/images: blobs and the list of images. */
  readonly dir: string;
  /** <state-dir>/engine/layers: unpacked layers, on the same file system as the containers' writable layers. */
  readonly layersDir: string;
  readonly logger: Logger;
  /** Names of the containers that use an image: it is not removed while there are any. */
  readonly usedBy?: (imageId: string) => readonly string[];
  readonly limits?: ApplyLimits;
}

/** A layer that was added for an image to come. */
export interface AddedLayer {
  readonly diffId: string;
  /** Sum of the files' sizes. */
  readonly sizeBytes: number;
}

export interface NewImage {
  /** The OCI config document, whole; `rootfs.diff_ids` must be `diffIds`. */
  readonly config: JsonObject;
  /** Lowest first; each has been added or belongs to an image that is here. */
  readonly diffIds: readonly string[];
  /** Names to give it, as users write them. */
  readonly names: readonly string[];
}

/** Images on this node: {@link Images} for everybody, the rest for the engine and the builder. */
export interface ImageStore extends Images {
  /** Unpacked layers, top-most first; never empty. @throws IMAGE_NOT_FOUND */
  layerPaths(imageId: string): readonly string[];
  /** The layer directory whose owner and mode the root directory has. @throws IMAGE_NOT_FOUND */
  rootPath(imageId: string): string;
  /** The config document as it was written, with everything that {@link ImageInfo} leaves out. @throws IMAGE_NOT_FOUND */
  rawConfig(imageId: string): Promise<JsonObject>;
  /** Keeps what is added under it from being collected until it is released or the process ends. */
  lease(): Lease;
  /**
   * Unpacks and keeps a layer that was made here, from a plain tar.
   * @param parents diff ids of the layers beneath, lowest first, for layers that need them (see LayerStore)
   * @throws DISK_FULL, CORRUPT
   */
  addLayer(tar: AsyncIterable<Uint8Array>, parents: readonly string[], lease: Lease): Promise<AddedLayer>;
  /** Whether a layer is unpacked here: a build's cache asks. */
  hasLayer(diffId: string, parents: readonly string[]): boolean;
  /** The lower directories of a stack of layers, top-most first; never empty. @throws NOT_FOUND */
  stackPaths(diffIds: readonly string[]): readonly string[];
  /** Makes an image of layers that are here; names are taken from other images. @throws NOT_FOUND for a missing layer */
  addImage(image: NewImage): Promise<ImageInfo>;
  /** A blob (manifest, config, packed layer) by digest. @throws NOT_FOUND */
  blob(digest: string): AsyncIterable<Uint8Array>;
  /** Descriptors of an image's packed layers as they are kept here, lowest first. @throws IMAGE_NOT_FOUND */
  packedLayers(imageId: string): readonly Descriptor[];
  /** Says which layers, by diff id, shall be kept beside those of images: a build's cache. Asked at every collection. */
  addLayerRoots(roots: () => Iterable<string>): void;
  /** Removes blobs and layers that no image, root or lease holds. @returns how many bytes of packed data went */
  collect(): Promise<number>;
  /** Removes a tree on a worker thread, never what is mounted in it. */
  removeTree(path: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens the store: reads the lists, drops damaged images, removes half-written files. Nothing else is removed yet: see `collect`. */
export async function createImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const core = await ImageCore.open(options);
  const puller = new Puller(core);
  const usedBy = options.usedBy ?? (() => []);

  const emptyOr = (paths: readonly string[]): readonly string[] => (paths.length > 0 ? paths : [core.layers.emptyPath]);
  const pathsOf = (layers: readonly LayerInfo[]): readonly string[] =>
    emptyOr(layers.map((layer) => core.layers.path(layer.key)).reverse());

  return {
    find(reference) {
      const found = core.catalog.find(reference);
      return found && infoOf(found.image);
    },
    list: () => core.catalog.list().map(infoOf),
    pull: (reference, onProgress, signal) => puller.pull(reference, onProgress, signal),
    load: (archive, onProgress) => loadArchive(core, archive, onProgress),
    async tag(id, name) {
      const found = core.catalog.find(id);
      if (found === undefined) throw notFound('tagging', id);
      const reference = parseReference(name);
      if (reference.digest !== '')
        throw new TsswarmError(
          'INVALID_INPUT',
          `tagging the image "${id}" as "${name}": a digest cannot be given to it`,
        );
      await core.change((catalog) => {
        const image = catalog.get(found.image.record.id);
        if (image === undefined) throw notFound('tagging', id);
        const names = [...new Set([...image.record.names, formatReference(reference)])];
        catalog.put({ ...image, record: { ...image.record, names } });
        return () => undefined;
      });
    },
    async remove(reference) {
      await core.change((catalog) => {
        const found = catalog.find(reference);
        if (found === undefined) throw notFound('removing', reference);
        const { record } = found.image;
        const names = found.name === '' ? [] : record.names.filter((name) => name !== found.name);
        if (names.length > 0) {
          catalog.put({ ...found.image, record: { ...record, names } });
        } else {
          refuseUsed(reference, usedBy(record.id));
          catalog.delete(record.id);
        }
        return () => undefined;
      });
      await core.collect();
    },
    layerPaths: (imageId) => pathsOf(core.image(imageId).layers),
    rootPath(imageId) {
      const { layers } = core.image(imageId);
      const owner = layers.findLast((layer) => layer.hasRoot) ?? layers.at(-1);
      return owner === undefined ? core.layers.emptyPath : core.layers.path(owner.key);
    },
    async rawConfig(imageId) {
      const bytes = await core.blobs.read(core.image(imageId).record.id, MAX_CONFIG_BYTES);
      return parseJsonObject(bytes, `the config of image "${imageId}"`);
    },
    lease: () => core.lease(),
    async addLayer(tar, parents, lease) {
      for (const parent of parents) lease.hold(parent);
      const below = (): Promise<readonly LayerInfo[]> => Promise.resolve(core.stack(parents));
      const layer = await packLayer(core, tar, { action: 'adding a layer', diffId: undefined, parents: below, lease });
      return { diffId: layer.diffId, sizeBytes: layer.sizeBytes };
    },
    hasLayer(diffId, parents) {
      try {
        core.stack([...parents, diffId]);
        return true;
      } catch (error) {
        if (isTsswarmError(error, 'NOT_FOUND')) return false;
        throw error;
      }
    },
    stackPaths: (diffIds) => pathsOf(core.stack(diffIds)),
    addImage: (image) => addImage(core, image),
    blob: (digest) => core.blobs.stream(digest),
    packedLayers: (imageId) => core.image(imageId).layers.map((layer) => layer.packed),
    addLayerRoots: (roots) => core.addRoots(roots),
    collect: () => core.collect(),
    removeTree: (path) => core.layers.removeTree(path),
    close: () => core.close(),
  };
}

async function addImage(core: ImageCore, { config, diffIds, names }: NewImage): Promise<ImageInfo> {
  const action = `adding the image "${names.join(', ')}"`;
  const complete = names.map((name) => formatReference(parseReference(name)));
  const bytes = Buffer.from(JSON.stringify(config));
  const said = parseConfig(bytes, 'the config of a new image').diffIds;
  if (said.join() !== diffIds.join())
    throw new TsswarmError('INVALID_INPUT', `${action}: its config tells of other layers than "${diffIds.join(' ')}"`);
  const lease = core.lease();
  try {
    for (const diffId of diffIds) lease.hold(diffId);
    const layers = core.stack(diffIds);
    lease.hold(digestOf(bytes));
    const id = await core.blobs.put(bytes);
    const packed = layers.map((layer) => layer.packed);
    const manifestBytes = composeManifest({ mediaType: OCI_CONFIG, digest: id, size: bytes.length }, packed);
    lease.hold(digestOf(manifestBytes));
    const manifest = await core.blobs.put(manifestBytes);
    const arrival = { id, names: complete, repoDigests: [], digest: '', manifests: [manifest], layers };
    return await core.register(arrival, action);
  } catch (error) {
    throw diskError(error, { action, directory: core.blobs.dir, neededBytes: 0 });
  } finally {
    lease.release();
  }
}

function refuseUsed(reference: string, containers: readonly string[]): void {
  if (containers.length === 0) return;
  throw new TsswarmError(
    'IN_USE',
    `removing the image "${reference}": it is used by container ${containers.join(', ')}`,
    {
      hint: 'remove the container first',
    },
  );
}

function notFound(action: string, reference: string): TsswarmError {
  return new TsswarmError('NOT_FOUND', `${action} the image "${reference}": it is not on this node`);
}
