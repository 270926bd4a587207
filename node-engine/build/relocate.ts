import { join } from 'node:path/posix';
import { TAR_END, TarReader, tarHeader, tarPadding } from '../snapshot/index.ts';
import type { TarEntry } from '../snapshot/index.ts';

/** A tar with all its entries below `target`: what ADD makes of an archive. Entries that point outside are kept inside. */
export async function* relocate(
  archive: AsyncIterable<Uint8Array>,
  target: string,
  what: string,
): AsyncGenerator<Uint8Array, void> {
  const reader = new TarReader(what);
  const move = (path: Buffer): Buffer => Buffer.from(join(target, join('/', path.toString())).slice(1));
  let size = 0;
  const take = function* (chunk: Uint8Array): Generator<Uint8Array, void> {
    for (const event of reader.push(chunk)) {
      if (event.kind === 'entry') {
        const entry: TarEntry = event.entry;
        size = entry.size;
        yield tarHeader({
          ...entry,
          path: move(entry.path),
          linkPath: entry.type === 'hardlink' ? move(entry.linkPath) : entry.linkPath,
        });
      } else if (event.kind === 'data') yield event.data;
      else if (event.kind === 'end') yield tarPadding(size);
    }
  };
  for await (const chunk of archive) yield* take(chunk);
  yield TAR_END;
}
