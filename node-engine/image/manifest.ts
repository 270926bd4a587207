import { TsswarmError } from '../../base/errors.ts';
import { numberAt, objectAt, objectsAt, parseJsonObject, stringAt, stringMapAt, stringsAt } from './json.ts';
import type { JsonObject } from './json.ts';
import {
  INDEX_TYPES,
  MANIFEST_TYPES,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  isImageConfigType,
  isLayerType,
} from './media-types.ts';
import { isDigest } from '../../base/image-reference.ts';

/** A blob by its digest (OCI image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** "v7" for arm, "v8" for arm64; often empty. */
  readonly variant: string;
}

export interface IndexEntry extends Descriptor {
  readonly platform: Platform | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageIndex {
  readonly kind: 'index';
  readonly manifests: readonly IndexEntry[];
}

export interface ImageManifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly (Descriptor & { readonly urls: readonly string[] })[];
}

/** Largest manifest or index that is read, as registries allow (distribution-spec). */
export const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
/** Largest image config that is read. */
export const MAX_CONFIG_BYTES = 8 * 2 ** 20;
/** overlayfs takes no more than 500 lower directories, Docker no more than 127 layers. */
export const MAX_LAYERS = 500;

/**
 * Reads a manifest or an index.
 * @param what names it in messages: `the manifest of "docker.io/library/nginx:latest"`
 * @param mediaType as the registry or descriptor says; empty: as the document says
 * @throws CORRUPT, NOT_SUPPORTED for artifacts that are no images
 */
export function parseManifest(bytes: Uint8Array, what: string, mediaType = ''): ImageIndex | ImageManifest {
  const document = parseJsonObject(bytes, what);
  const type = mediaTypeOf(document, mediaType);
  if (INDEX_TYPES.includes(type)) return parseIndex(document, what);
  if (MANIFEST_TYPES.includes(type)) return parseImage(document, what);
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `reading ${what}: its type is "${type}", an OCI or Docker image was expected`,
  );
}

function mediaTypeOf(document: JsonObject, said: string): string {
  const own = stringAt(document, 'mediaType');
  if (own !== '') return own; // inside what the digest covers, so it goes before a header
  if (INDEX_TYPES.includes(said) || MANIFEST_TYPES.includes(said)) return said;
  // OCI made the field optional; the two documents differ by their lists.
  if (Array.isArray(document['manifests'])) return OCI_INDEX;
  return Array.isArray(document['layers']) ? OCI_MANIFEST : said;
}

function parseIndex(document: JsonObject, what: string): ImageIndex {
  const manifests = objectsAt(document, 'manifests').map((entry): IndexEntry => {
    const platform = objectAt(entry, 'platform');
    return {
      ...parseDescriptor(entry, what),
      platform: entry['platform'] === undefined ? undefined : parsePlatform(platform),
      annotations: stringMapAt(entry, 'annotations'),
    };
  });
  return { kind: 'index', manifests };
}

/** Also of an image config, which has the same three fields. */
export function parsePlatform(value: JsonObject): Platform {
  return {
    os: stringAt(value, 'os'),
    architecture: stringAt(value, 'architecture'),
    variant: stringAt(value, 'variant'),
  };
}

function parseImage(document: JsonObject, what: string): ImageManifest {
  const config = parseDescriptor(objectAt(document, 'config'), what);
  if (!isImageConfigType(config.mediaType))
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `reading ${what}: it is an artifact of type "${config.mediaType}", a container image was expected`,
    );
  const layers = objectsAt(document, 'layers').map((layer) => {
    const descriptor = parseDescriptor(layer, what);
    if (!isLayerType(descriptor.mediaType))
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `reading ${what}: a layer has the unknown type "${descriptor.mediaType}"`,
      );
    return { ...descriptor, urls: stringsAt(layer, 'urls') };
  });
  if (layers.length > MAX_LAYERS)
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `reading ${what}: it has ${layers.length} layers, at most ${MAX_LAYERS} fit`,
    );
  return { kind: 'manifest', config, layers };
}

function parseDescriptor(value: JsonObject, what: string): Descriptor {
  const digest = stringAt(value, 'digest');
  const size = numberAt(value, 'size');
  if (!isDigest(digest) || !Number.isSafeInteger(size) || size < 0)
    throw new TsswarmError('CORRUPT', `reading ${what}: a descriptor has the digest "${digest}" and the size ${size}`);
  return { mediaType: stringAt(value, 'mediaType') || OCI_CONFIG, digest, size };
}

/** An OCI manifest for an image that came without one (built here, or from an old archive). */
export function composeManifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }));
}
