import { imageKey } from '../../base/image-key.ts';
import type { ImageInfo } from '../../node-engine/types.ts';

/** The managers keep what every node says: the oldest images of a node with very many are left out. */
const MOST_IMAGES = 100;

/** What a node says of its images: a key for each name and digest, in an order of their own, so that the same images give the same list. */
export function imageKeys(
  images: readonly Pick<ImageInfo, 'id' | 'names' | 'digest' | 'createdAt'>[],
): readonly string[] {
  const newest = images.toSorted((a, b) => b.createdAt - a.createdAt).slice(0, MOST_IMAGES);
  const keys = newest.flatMap(({ id, names, digest }) =>
    [id, digest, ...names].flatMap((name) => imageKey(name) ?? []),
  );
  return [...new Set(keys)].sort();
}
