import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bindSources } from './bind-sources.ts';
import type { ContainerParts } from './parts.ts';
import type { ContainerRecord } from './record.ts';

/**
 * The root of a container that does not run, with its volumes and binds, for the launcher to mount where nobody else sees it. Neither
 * the kernel's file systems nor secrets are there. It must not be started meanwhile.
 * @param work gets the launcher's words for it
 */
export async function atRest<T>(
  { disk, layers, volumes, secrets }: Pick<ContainerParts, 'disk' | 'layers' | 'volumes' | 'secrets'>,
  record: ContainerRecord,
  work: (root: readonly string[]) => Promise<T>,
): Promise<T> {
  const paths = disk.paths(record.id);
  mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
  const hidden = new Set(record.files.map(({ target }) => target));
  const sources = await bindSources(record, paths, volumes, secrets);
  const path = join(paths.runDir, 'files.json');
  try {
    const config = {
      annotations: { 'tsswarm.overlay': JSON.stringify(layers.paths(record.id, record.imageId)) },
      mounts: sources.binds
        .filter(({ target }) => !hidden.has(target))
        .sort((a, b) => a.target.split('/').length - b.target.split('/').length)
        .map(({ source, target, readOnly }) => ({
          destination: target,
          type: 'bind',
          source,
          options: ['rbind', ...(readOnly ? ['ro'] : [])],
        })),
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return await work(['--config', path, '--stage', paths.runDir]);
  } finally {
    rmSync(path, { force: true });
    sources.release();
  }
}
