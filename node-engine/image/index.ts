/** Images: names, the store, pulling and loading. */
export { createImageStore } from './store.ts';
export type { AddedLayer, ImageStore, ImageStoreOptions, NewImage } from './store.ts';
export type { Lease } from './leases.ts';
export type { JsonObject } from './json.ts';
export { familiarName, formatReference, isDigest, parseReference, repositoryOf } from '../../base/image-reference.ts';
export type { ImageReference } from '../../base/image-reference.ts';
export { formatPlatform, hostPlatform } from './platform.ts';
