import type { Engine, ImageInfo, ImageProgress } from '../../../node-engine/index.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { imagesService } from '../../../proto/rpc/services.ts';
import type { ImageEvent, ImageSummary, LoadImageRequest } from '../../../proto/types/index.ts';

/** The images of this node. */
export function imagesHandlers({
  images,
  builder,
}: Pick<Engine, 'images' | 'builder'>): ServiceHandlers<typeof imagesService> {
  return {
    list: () => Promise.resolve({ images: images.list().map(summary) }),
    find: ({ reference }) => {
      const image = images.find(reference);
      return Promise.resolve(image === undefined ? {} : { image: summary(image) });
    },
    pull: ({ reference }, signal) => withProgress(async (progress) => [await images.pull(reference, progress, signal)]),
    load: (requests) => withProgress((progress) => images.load(chunks(requests), progress)),
    async remove({ reference }) {
      await images.remove(reference);
      return {};
    },
    build: (request, signal) => withProgress(async (progress) => [await builder.build(request, progress, signal)]),
  };
}

async function* chunks(requests: AsyncIterable<LoadImageRequest>): AsyncIterable<Uint8Array> {
  for await (const { chunk } of requests) yield chunk;
}

/** What `work` says while it runs, then the images it ends with. A reader that is slow only misses steps in between. */
async function* withProgress(
  work: (progress: (event: ImageProgress) => void) => Promise<readonly ImageInfo[]>,
): AsyncIterable<ImageEvent> {
  const lines = new Map<string, ImageProgress>();
  const outputs: ImageProgress[] = [];
  let wake: () => void = () => undefined;
  let finished = false;
  const result = work((event) => {
    if (event.status === 'output' || event.status === 'step') outputs.push(event);
    else lines.set(event.id, event);
    wake();
  }).finally(() => {
    finished = true;
    wake();
  });
  result.catch(() => undefined);
  for (;;) {
    const events = [...outputs.splice(0), ...lines.values()];
    lines.clear();
    for (const progress of events) yield { progress, images: [] };
    if (outputs.length + lines.size > 0) continue;
    if (finished) break;
    await new Promise<void>((resolve) => (wake = resolve));
  }
  yield { images: (await result).map(summary) };
}

function summary({ id, names, digest, createdAt, sizeBytes, architecture }: ImageInfo): ImageSummary {
  return { id, names, digest, createdAt, sizeBytes, architecture };
}
