import { readFile } from 'node:fs/promises';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import { writeFileDurably } from '../snapshot/durable.ts';
import { objectsAt, parseJsonObject, stringAt, stringsAt } from './json.ts';
import type { JsonObject } from './json.ts';

/** What is kept about an image, beside its config blob. */
export interface ImageRecord {
  /** Digest of the config. */
  readonly id: string;
  /** Complete names, by tag or by digest. */
  readonly names: readonly string[];
  /** "docker.io/library/nginx@sha256:…": under which digests registries have it. */
  readonly repoDigests: readonly string[];
  /** Digest that the name stood for when it was pulled (of the index, where there was one); may be empty. */
  readonly digest: string;
  /** Digests of the manifest blobs that are kept with it: the image's own first, then the index it was chosen from. */
  readonly manifests: readonly string[];
  /** Keys of the unpacked layers, lowest first; diff ids are in the config. */
  readonly layers: readonly string[];
}

const VERSION = 1;

/** Reads the list of images; [] when there is none yet. @throws CORRUPT, when it cannot be understood */
export async function readRecords(path: string): Promise<ImageRecord[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const document = parseJsonObject(text, `the image list "${path}"`);
  if (document['version'] !== VERSION)
    throw new TsswarmError(
      'CORRUPT',
      `reading the image list "${path}": it has version ${String(document['version'])}, ${VERSION} was expected`,
      { hint: 'it was written by another version of tsswarm' },
    );
  return objectsAt(document, 'images').map(parseRecord);
}

/** Replaces the list: after a crash it is the old one or this one. */
export async function writeRecords(path: string, images: readonly ImageRecord[]): Promise<void> {
  await writeFileDurably(path, JSON.stringify({ version: VERSION, images }, undefined, 1));
}

function parseRecord(value: JsonObject): ImageRecord {
  return {
    id: stringAt(value, 'id'),
    names: stringsAt(value, 'names'),
    repoDigests: stringsAt(value, 'repoDigests'),
    digest: stringAt(value, 'digest'),
    manifests: stringsAt(value, 'manifests'),
    layers: stringsAt(value, 'layers'),
  };
}
