import { createReadStream } from 'node:fs';
import { TsswarmError, errnoOf } from '../../../base/errors.ts';
import type { ImageSummary } from '../../../proto/types/index.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { ImageProgressRows } from '../../images/progress-rows.ts';
import { loadArchive } from '../../images/load.ts';
import { splitReference } from '../../images/reference.ts';
import { durationWords, formatSize, openDisplay, renderTable } from '../../render/index.ts';
import type { ProgressDisplay } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';

const CHUNK_BYTES = 256 * 1024;

/** Lists the node's images, a line per name. With a name only that image; none of that name is an empty list. */
export async function listImages(
  place: NodePlace,
  name: string | undefined,
  options: { readonly quiet?: boolean; readonly digests?: boolean },
  terminal: Terminal,
): Promise<void> {
  await withNode(place, async (node) => {
    const images = name === undefined ? (await node.images.list({})).images : await findImages(node, name);
    if (options.quiet === true) for (const { id } of images) terminal.out(`${shortId(id)}\n`);
    else terminal.out(renderImages(images, options.digests === true, Date.now()));
  });
}

/** @param now wall time, ms */
export function renderImages(images: readonly ImageSummary[], digests: boolean, now: number): string {
  const rows = images.flatMap((image) => {
    const names = image.names.length === 0 ? ['<none>:<none>'] : image.names;
    return names.map((name) => {
      const [repository, tag] = splitReference(name);
      return [
        repository,
        tag,
        ...(digests ? [image.digest || '<none>'] : []),
        shortId(image.id),
        image.createdAt === 0 ? 'N/A' : `${durationWords(now - image.createdAt)} ago`,
        formatSize(image.sizeBytes),
      ];
    });
  });
  return renderTable(['REPOSITORY', 'TAG', ...(digests ? ['DIGEST'] : []), 'IMAGE ID', 'CREATED', 'SIZE'], rows);
}

/** Loads archives one after another; "-" and no archive at all mean standard input. */
export async function loadImages(
  place: NodePlace,
  archives: readonly string[],
  options: { readonly quiet?: boolean; readonly input?: string },
  terminal: Terminal,
): Promise<void> {
  const named = options.input === undefined ? archives : [options.input, ...archives];
  const sources = named.length === 0 ? ['-'] : named;
  if (sources.includes('-') && process.stdin.isTTY) {
    throw new TsswarmError('INVALID_INPUT', 'loading images: standard input is a terminal, expected an archive', {
      hint: 'name the archive: tsswarm image load images.tar',
    });
  }
  await withNode(place, async (node) => {
    for (const source of sources) {
      const input = source === '-' ? process.stdin : createReadStream(source, { highWaterMark: CHUNK_BYTES });
      const images = await withDisplay('Loading', options.quiet, terminal, async (display) => {
        const rows = new ImageProgressRows(source === '-' ? 'standard input' : source, 'Loading', 'Loaded');
        try {
          const loaded = await loadArchive(node.images, input, (progress) => {
            rows.take(progress);
            display.update(rows.rows());
          });
          rows.finish();
          display.update(rows.rows());
          return loaded;
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') throw error;
          throw new TsswarmError('NOT_FOUND', `loading images from "${source}": no such file`, { cause: error });
        }
      });
      for (const image of images) {
        for (const name of image.names) terminal.out(`Loaded image: ${splitReference(name).join(':')}\n`);
        if (image.names.length === 0) terminal.out(`Loaded image ID: ${image.id}\n`);
      }
    }
  });
}

/** Pulls images one after another, whatever is local. */
export async function pullImages(
  place: NodePlace,
  references: readonly string[],
  options: { readonly quiet?: boolean },
  terminal: Terminal,
): Promise<void> {
  await withNode(place, async (node) => {
    for (const reference of references) {
      await withDisplay('Pulling', options.quiet, terminal, async (display) => {
        const rows = new ImageProgressRows(reference, 'Pulling', 'Pulled');
        for await (const event of node.images.pull({ reference })) {
          if (event.progress !== undefined) rows.take(event.progress);
          else rows.finish();
          display.update(rows.rows());
        }
      });
    }
  });
}

/** Removes names, and images whose last name it was. */
export async function removeImages(place: NodePlace, references: readonly string[], terminal: Terminal): Promise<void> {
  await withNode(place, async (node) => {
    for (const reference of references) {
      await node.images.remove({ reference });
      terminal.out(`Removed: ${reference}\n`);
    }
  });
}

async function findImages(node: NodeClient, reference: string): Promise<readonly ImageSummary[]> {
  const { image } = await node.images.find({ reference });
  return image === undefined ? [] : [image];
}

async function withNode(place: NodePlace, work: (node: NodeClient) => Promise<void>): Promise<void> {
  const node = await openNode(place);
  try {
    await work(node);
  } finally {
    node.close();
  }
}

async function withDisplay<T>(
  title: string,
  quiet: boolean | undefined,
  terminal: Terminal,
  work: (display: ProgressDisplay) => Promise<T>,
): Promise<T> {
  const mode = quiet === true ? 'quiet' : terminal.redraws ? 'tty' : 'plain';
  const display = openDisplay({ mode, stream: process.stderr, style: terminal.errStyle, title });
  try {
    return await work(display);
  } finally {
    display.close();
  }
}

const shortId = (id: string): string => id.replace(/^sha256:/, '').slice(0, 12);
