import { TsswarmError } from '../../base/errors.ts';
import { decompress } from '../snapshot/decompress.ts';
import { diskError } from '../snapshot/disk-errors.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ImageInfo, ImageProgress } from '../types.ts';
import { ArchiveFiles } from './archive-files.ts';
import { parseConfig } from './config.ts';
import type { ImageCore } from './core.ts';
import { isObject, stringAt, stringsAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { packLayer } from './layer-ingest.ts';
import type { Lease } from './leases.ts';
import { MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, composeManifest, parseManifest } from './manifest.ts';
import type { Descriptor, IndexEntry } from './manifest.ts';
import { INDEX_TYPES, OCI_CONFIG, OCI_INDEX } from './media-types.ts';
import { choosePlatform, hostPlatform } from './platform.ts';
import { familiarName, formatReference, isDigest, parseReference } from '../../base/image-reference.ts';

type Report = (progress: ImageProgress) => void;

const WHAT = 'the image archive';
const ACTION = 'loading an image archive';

/** One image of an archive, in terms of the archive's files. */
interface ArchivedImage {
  readonly names: readonly string[];
  /** Digest of its manifest; empty when it has none. */
  readonly manifest: string;
  readonly config: string;
  /** Files, lowest layer first. */
  readonly layers: readonly { readonly file: string; readonly descriptor: Descriptor | undefined }[];
}

/**
 * Loads the images of an archive: of `docker save` in its old form (manifest.json and a folder for each layer) and its
 * new one (an OCI layout with manifest.json beside it), or an OCI layout (`skopeo copy … oci-archive:`); plain, gzip or
 * zstd. Every blob is checked against its digest, every layer against its diff id.
 * @throws CORRUPT, DIGEST_MISMATCH, DISK_FULL
 */
export async function loadArchive(
  core: ImageCore,
  archive: AsyncIterable<Uint8Array>,
  report: Report,
): Promise<readonly ImageInfo[]> {
  const files = new ArchiveFiles(WHAT, core.blobs);
  const lease = core.lease();
  try {
    const reading = (current: number): void =>
      report({ id: '', status: 'extracting', current, total: 0, text: 'reading the archive' });
    await files.read(decompress(archive, WHAT), reading);
    const images = files.has('manifest.json') ? await dockerImages(files) : await ociImages(files);
    if (images.length === 0) throw corrupt('it has no image');
    const loaded: ImageInfo[] = [];
    for (const image of images) loaded.push(await loadImage(core, files, image, lease, report));
    return loaded;
  } catch (error) {
    throw diskError(error, { action: ACTION, directory: core.blobs.dir, neededBytes: 0 });
  } finally {
    lease.release();
    await files.close();
    await core.collect();
  }
}

async function loadImage(
  core: ImageCore,
  files: ArchiveFiles,
  image: ArchivedImage,
  lease: Lease,
  report: Report,
): Promise<ImageInfo> {
  const config = files.get(image.config);
  const bytes = await files.content(config, MAX_CONFIG_BYTES);
  const { diffIds } = parseConfig(bytes, `the image config "${image.config}"`);
  if (diffIds.length !== image.layers.length)
    throw corrupt(`the config "${image.config}" tells of ${diffIds.length} layers, there are ${image.layers.length}`);
  for (const digest of [config.digest, ...diffIds]) lease.hold(digest);
  const layers: LayerInfo[] = [];
  for (const [at, diffId] of diffIds.entries()) {
    const source = image.layers[at];
    if (source === undefined) throw corrupt(`the layer "${diffId}" is missing`);
    layers.push(await loadLayer(core, files, source, diffId, layers, lease, report));
  }
  await files.keep(config);
  const manifest =
    image.manifest !== ''
      ? await files.keep(files.get(blobPath(image.manifest)))
      : await core.blobs.put(
          composeManifest(
            { mediaType: OCI_CONFIG, digest: config.digest, size: config.size },
            layers.map((layer) => layer.packed),
          ),
        );
  lease.hold(manifest);
  const { names } = image;
  const arrival = { id: config.digest, names, repoDigests: [], digest: image.manifest, manifests: [manifest], layers };
  const info = await core.register(arrival, ACTION);
  const shown = names.length > 0 ? names.map(familiarName).join(', ') : info.id;
  report({ id: '', status: 'done', current: 0, total: 0, text: `Loaded image: ${shown}` });
  return info;
}

async function loadLayer(
  core: ImageCore,
  files: ArchiveFiles,
  source: ArchivedImage['layers'][number],
  diffId: string,
  parents: readonly LayerInfo[],
  lease: Lease,
  report: Report,
): Promise<LayerInfo> {
  const id = diffId.slice('sha256:'.length, 'sha256:'.length + 12);
  const present = core.layers.find(diffId, parents);
  if (present !== undefined) {
    report({ id, status: 'exists', current: present.packed.size, total: present.packed.size, text: '' });
    return present;
  }
  const file = files.get(source.file);
  const below = [...parents];
  const onProgress = (current: number): void =>
    report({ id, status: 'extracting', current, total: file.size, text: '' });
  onProgress(0);
  let layer: LayerInfo;
  if (source.descriptor === undefined) {
    const tar = decompress(files.stream(file), `layer "${source.file}"`);
    const request = { action: ACTION, diffId, parents: () => Promise.resolve(below), lease, onProgress };
    layer = await packLayer(core, tar, request);
  } else {
    lease.hold(file.digest);
    const archive = core.blobs.path(await files.keep(file));
    const request = { archive, packed: source.descriptor, diffId, action: ACTION, onProgress };
    layer = await core.layers.apply({ ...request, parents: () => Promise.resolve(below) });
  }
  report({ id, status: 'done', current: file.size, total: file.size, text: '' });
  return layer;
}

/** `docker save`: manifest.json lists config, names and layers by the archive's own file names. */
async function dockerImages(files: ArchiveFiles): Promise<ArchivedImage[]> {
  const bytes = await files.content(files.get('manifest.json'), MAX_MANIFEST_BYTES);
  let list: unknown;
  try {
    list = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new TsswarmError('CORRUPT', `reading ${WHAT}: "manifest.json" is no JSON`, { cause: error });
  }
  if (!Array.isArray(list)) throw corrupt('"manifest.json" is no list');
  return list.filter(isObject).map((entry: JsonObject) => {
    const config = stringAt(entry, 'Config');
    verifyName(files, config);
    return {
      names: stringsAt(entry, 'RepoTags').map((name) => formatReference(parseReference(name))),
      manifest: '',
      config,
      layers: stringsAt(entry, 'Layers').map((file) => ({ file, descriptor: undefined })),
    };
  });
}

/** Config files are named by their digest; one with another content has been tampered with. */
function verifyName(files: ArchiveFiles, name: string): void {
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  const { digest } = files.get(name);
  if (hex !== undefined && digest !== `sha256:${hex}`) throw mismatch(name, digest);
}

/** OCI image-layout: index.json leads to manifests, these to configs and layers under blobs/. */
async function ociImages(files: ArchiveFiles): Promise<ArchivedImage[]> {
  if (!files.has('index.json')) throw corrupt('it has neither "manifest.json" nor "index.json"');
  const index = await files.content(files.get('index.json'), MAX_MANIFEST_BYTES);
  const parsed = parseManifest(index, '"index.json" of the image archive', OCI_INDEX);
  if (parsed.kind !== 'index') throw corrupt('"index.json" is no index');
  const groups = Map.groupBy(parsed.manifests, (entry) => nameOf(entry));
  const images: ArchivedImage[] = [];
  for (const [name, entries] of groups) {
    const chosen = name === '' ? entries : [choosePlatform(entries, hostPlatform()) ?? (entries[0] as IndexEntry)];
    for (const entry of chosen) images.push(await ociImage(files, entry, name));
  }
  return images;
}

async function ociImage(files: ArchiveFiles, entry: IndexEntry, name: string): Promise<ArchivedImage> {
  const bytes = await files.content(verifiedBlob(files, entry), MAX_MANIFEST_BYTES);
  const manifest = parseManifest(bytes, `the manifest "${entry.digest}"`, entry.mediaType);
  if (manifest.kind === 'index') {
    const chosen = choosePlatform(manifest.manifests, hostPlatform()) ?? manifest.manifests[0];
    if (chosen === undefined || INDEX_TYPES.includes(chosen.mediaType))
      throw corrupt(`the index "${entry.digest}" leads to no image`);
    return await ociImage(files, chosen, name);
  }
  verifiedBlob(files, manifest.config);
  return {
    names: name === '' ? [] : [name],
    manifest: entry.digest,
    config: blobPath(manifest.config.digest),
    layers: manifest.layers.map((layer) => {
      verifiedBlob(files, layer);
      const { mediaType, digest, size } = layer;
      return { file: blobPath(digest), descriptor: { mediaType, digest, size } };
    }),
  };
}

function verifiedBlob(files: ArchiveFiles, { digest, size }: Descriptor): ReturnType<ArchiveFiles['get']> {
  const file = files.get(blobPath(digest));
  if (file.digest !== digest || file.size !== size) throw mismatch(blobPath(digest), file.digest);
  return file;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** The complete name that an index gives an image; empty when it gives none, or a mere tag. */
function nameOf({ annotations }: IndexEntry): string {
  const full = annotations['io.containerd.image.name'];
  const short = annotations['org.opencontainers.image.ref.name'] ?? '';
  const name = full ?? (/[/:]/.test(short) ? short : '');
  return name === '' || isDigest(name) ? '' : formatReference(parseReference(name));
}

function corrupt(what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `reading ${WHAT}: ${what}`);
}

function mismatch(name: string, digest: string): TsswarmError {
  return new TsswarmError('DIGEST_MISMATCH', `reading ${WHAT}: the content of "${name}" has the digest ${digest}`, {
    hint: 'the archive is damaged or has been changed: make it again',
  });
}
