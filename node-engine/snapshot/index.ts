/** Layers as directories: unpacking, comparing, and the writable layers of containers. */
export { diffToTar } from './diff.ts';
export type { DiffOptions } from './diff.ts';
export { decompress, detectCompression } from './decompress.ts';
export { removeTree } from './remove-tree.ts';
export { TarReader } from './tar-reader.ts';
export type { TarEvent } from './tar-reader.ts';
export type { TarEntry, TarEntryType } from './tar-entry.ts';
export { TAR_END, tarHeader, tarPadding } from './tar-writer.ts';
export { createWritableLayers } from './writable-layers.ts';
export type { RootDirs, WritableLayers, WritableLayersOptions } from './writable-layers.ts';
