import type { ImageEvent, ImageSummary } from '../../proto/types/index.ts';
import type { NodeClient } from '../local-node/index.ts';

/**
 * Sends an archive to the node and returns the images that were in it.
 * @throws what the node says of the archive; the error of `archive` when reading it fails
 */
export async function loadArchive(
  images: NodeClient['images'],
  archive: AsyncIterable<Uint8Array | string>,
  onProgress: (progress: NonNullable<ImageEvent['progress']>) => void,
): Promise<readonly ImageSummary[]> {
  const call = images.load();
  let readError: unknown;
  const sending = (async () => {
    try {
      for await (const chunk of archive) {
        await call.send({ chunk: typeof chunk === 'string' ? Buffer.from(chunk) : chunk });
      }
      call.end();
    } catch (error) {
      readError = error;
      call.cancel();
    }
  })();
  const loaded: ImageSummary[] = [];
  try {
    for await (const event of call.output) {
      if (event.progress !== undefined) onProgress(event.progress);
      loaded.push(...event.images);
    }
  } catch (error) {
    // The node's own word about the archive counts more than the broken pipe that follows from it.
    const code = (error as { code?: string }).code;
    throw code === 'CANCELLED' && readError !== undefined ? readError : error;
  }
  await sending;
  return loaded;
}
