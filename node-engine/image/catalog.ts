import { TsswarmError } from '../../base/errors.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ConfigDocument } from './config.ts';
import type { ImageRecord } from './records.ts';
import { formatReference, parseReference, repositoryOf } from '../../base/image-reference.ts';
import type { ImageReference } from '../../base/image-reference.ts';

/** An image as it is kept in memory. */
export interface CatalogImage {
  readonly record: ImageRecord;
  readonly document: ConfigDocument;
  /** Lowest first. */
  readonly layers: readonly LayerInfo[];
}

/** The shortest beginning of an id that stands for it: what every list shows. "cafe" is a name, not an id. */
const SHORTEST_ID = 12;

/** The images of the node by id and by name. An image has any number of names, a name stands for one image. */
export class ImageCatalog {
  readonly #images = new Map<string, CatalogImage>();
  readonly #names = new Map<string, string>();

  /** A copy to change, while others see this one. */
  clone(): ImageCatalog {
    const copy = new ImageCatalog();
    for (const image of this.#images.values()) copy.put(image);
    return copy;
  }

  /** Puts an image in, or replaces the one of its id; its names are taken from other images. */
  put(image: CatalogImage): void {
    const { id, names } = image.record;
    for (const name of names) {
      const owner = this.#names.get(name);
      if (owner !== undefined && owner !== id) this.#withoutName(owner, name);
    }
    for (const old of this.#images.get(id)?.record.names ?? []) this.#names.delete(old);
    for (const name of names) this.#names.set(name, id);
    this.#images.set(id, image);
  }

  delete(id: string): void {
    for (const name of this.#images.get(id)?.record.names ?? []) this.#names.delete(name);
    this.#images.delete(id);
  }

  get(id: string): CatalogImage | undefined {
    return this.#images.get(id);
  }

  list(): readonly CatalogImage[] {
    return [...this.#images.values()];
  }

  records(): readonly ImageRecord[] {
    return this.list().map((image) => image.record);
  }

  /**
   * The image of a name, of a digest ("nginx@sha256:…"), of an id ("sha256:…") or of the first 12 or more digits of one.
   * `name` tells under which name it was found; empty when by id.
   * @throws INVALID_INPUT for a name that is malformed, or the beginning of several ids
   */
  find(text: string): { readonly image: CatalogImage; readonly name: string } | undefined {
    const id = /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(text)?.[1];
    if (id !== undefined && (id.length === 64 || text.startsWith('sha256:'))) return this.#byId(text, id);
    const reference = parseReference(text);
    const name = formatReference(reference);
    const named = this.#images.get(this.#names.get(name) ?? '');
    if (named !== undefined) return { image: named, name };
    if (reference.digest !== '') return this.#byDigest(reference);
    return id === undefined || id.length < SHORTEST_ID ? undefined : this.#byId(text, id);
  }

  #byDigest(reference: ImageReference): { readonly image: CatalogImage; readonly name: string } | undefined {
    const wanted = `${repositoryOf(reference)}@${reference.digest}`;
    const image = this.list().find(({ record }) => record.repoDigests.includes(wanted));
    return image === undefined ? undefined : { image, name: '' };
  }

  #byId(text: string, digits: string): { readonly image: CatalogImage; readonly name: string } | undefined {
    const found = this.list().filter(({ record }) => record.id.startsWith(`sha256:${digits}`));
    if (found.length > 1)
      throw new TsswarmError('INVALID_INPUT', `finding the image "${text}": ${found.length} ids begin so`, {
        hint: 'write more digits of the id',
      });
    return found[0] === undefined ? undefined : { image: found[0], name: '' };
  }

  #withoutName(id: string, name: string): void {
    const image = this.#images.get(id);
    if (image === undefined) return;
    const { record } = image;
    this.#images.set(id, { ...image, record: { ...record, names: record.names.filter((one) => one !== name) } });
  }
}
