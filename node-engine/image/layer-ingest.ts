import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { createZstdCompress, constants } from 'node:zlib';
import { diskError } from '../snapshot/disk-errors.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ImageCore } from './core.ts';
import type { Lease } from './leases.ts';
import { OCI_LAYER } from './media-types.ts';

export interface PackRequest {
  /** For messages: `building "app:latest"`. */
  readonly action: string;
  /** What must come out; undefined: whatever comes out. */
  readonly diffId: string | undefined;
  readonly parents: () => Promise<readonly LayerInfo[]>;
  readonly lease: Lease;
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Takes a layer that comes as a plain tar: it is kept packed by zstd, which costs little and halves the disk and what
 * other nodes fetch, and unpacked.
 * @throws DISK_FULL, CORRUPT, DIGEST_MISMATCH
 */
export async function packLayer(
  core: ImageCore,
  tar: AsyncIterable<Uint8Array>,
  request: PackRequest,
): Promise<LayerInfo> {
  const { action, diffId, parents, lease, onProgress } = request;
  if (diffId !== undefined) lease.hold(diffId);
  const { digest, size } = await writePacked(core, tar, action, lease);
  const layer = await core.layers.apply({
    archive: core.blobs.path(digest),
    packed: { mediaType: `${OCI_LAYER}+zstd`, digest, size },
    diffId,
    action,
    parents,
    ...(onProgress && { onProgress }),
  });
  lease.hold(layer.diffId);
  return layer;
}

async function writePacked(
  core: ImageCore,
  tar: AsyncIterable<Uint8Array>,
  action: string,
  lease: Lease,
): Promise<{ digest: string; size: number }> {
  const writer = await core.blobs.create();
  const codec = createZstdCompress({ chunkSize: 256 * 1024, params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  try {
    const feed = async (): Promise<void> => {
      for await (const chunk of tar) if (!codec.write(chunk)) await once(codec, 'drain');
      codec.end();
    };
    const fed = feed().catch((error: unknown) => codec.destroy(error as Error));
    for await (const chunk of codec) await writer.write(chunk as Buffer);
    await fed;
    lease.hold(writer.digest());
    const digest = await writer.commit();
    return { digest, size: writer.size };
  } catch (error) {
    codec.destroy();
    await finished(codec).catch(() => undefined);
    throw diskError(error, { action, directory: core.blobs.dir, neededBytes: 0 });
  } finally {
    await writer.abandon();
  }
}
