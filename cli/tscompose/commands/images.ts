import { TsswarmError } from '../../../base/errors.ts';
import { splitReference } from '../../images/reference.ts';
import { formatSize, renderTable } from '../../render/index.ts';
import type { Context } from '../context.ts';
import { readExisting } from '../project/existing.ts';
import { containersOf } from './ps.ts';

export interface ImagesOptions {
  readonly quiet?: boolean;
  readonly format: string;
}

/** Lists the images that the project's containers were made from. */
export async function images(context: Context, names: readonly string[], options: ImagesOptions): Promise<void> {
  if (options.format !== 'table' && options.format !== 'json') {
    throw new TsswarmError('INVALID_INPUT', `using --format "${options.format}": expected table or json`);
  }
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, await context.projectName(), names);
    const { images: known } = await node.images.list({});
    const rows = containersOf(existing.services, existing.tasks)
      .filter(({ service }) => names.length === 0 || names.includes(service.spec.composeName))
      .map(({ task }) => {
        const { imageDigest } = task.status;
        const image = known.find(({ id, digest }) => id === imageDigest || digest === imageDigest);
        const [repository, tag] = splitReference(task.spec.container.image);
        return { container: task.name, repository, tag, id: image?.id ?? '', size: image?.sizeBytes ?? 0 };
      });
    const { out } = context.terminal;
    const short = (id: string): string => id.replace(/^sha256:/, '').slice(0, 12);
    if (options.quiet === true) {
      for (const id of new Set(rows.map((row) => row.id).filter(Boolean))) out(`${short(id)}\n`);
    } else if (options.format === 'json') {
      const objects = rows.map(({ container, repository, tag, id, size }) => ({
        ID: id,
        ContainerName: container,
        Repository: repository,
        Tag: tag,
        Size: size,
      }));
      out(`${JSON.stringify(objects)}\n`);
    } else {
      out(
        renderTable(
          ['CONTAINER', 'REPOSITORY', 'TAG', 'IMAGE ID', 'SIZE'],
          rows.map(({ container, repository, tag, id, size }) => [
            container,
            repository,
            tag,
            short(id),
            id === '' ? '' : formatSize(size),
          ]),
        ),
      );
    }
  } finally {
    node.close();
  }
}
