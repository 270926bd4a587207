import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { BindMount } from '../../proto/types/index.ts';
import type { VolumeSource, VolumeStore } from '../volume/volumes.ts';
import type { ContainerPaths } from './container-disk.ts';
import type { BoundSource } from './mounts.ts';
import { cleanTarget } from './mounts.ts';
import type { ContainerRecord } from './record.ts';
import { keyOf } from './record.ts';
import type { SecretFiles } from './secret-files.ts';

/**
 * Checks that every bind source is there or may be made.
 * @returns those that are to be made
 * @throws BIND_SOURCE_MISSING
 */
export function checkBindSources(container: string, mounts: readonly BindMount[]): readonly BindMount[] {
  const missing = mounts.filter(({ source }) => !source.startsWith('/') || !exists(source));
  const fatal = missing.find(({ source, createHostPath }) => !createHostPath || !source.startsWith('/'));
  if (fatal !== undefined) {
    const relative = !fatal.source.startsWith('/');
    throw new TsswarmError(
      relative ? 'INVALID_INPUT' : 'BIND_SOURCE_MISSING',
      `mounting "${fatal.source}" at "${fatal.target}" of container "${container}": ${relative ? 'expected an absolute path' : 'the source does not exist'}`,
      { hint: 'make the file or folder on this node, or correct `source`' },
    );
  }
  return missing;
}

/**
 * Checks that every bind source is there, and makes those that may be made once all others are found. For who starts a container: a folder
 * says that a container has been there, and what has never run has left nothing.
 * @throws BIND_SOURCE_MISSING before anything is made; MOUNT_FAILED
 */
export function ensureBindSources(container: string, mounts: readonly BindMount[]): void {
  for (const { source, target } of checkBindSources(container, mounts)) {
    try {
      mkdirSync(source, { recursive: true, mode: 0o755 });
    } catch (error) {
      throw new TsswarmError(
        'MOUNT_FAILED',
        `making the bind source "${source}" for "${target}": ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

/** What is bound into a container that is about to start. `release` after the launcher has mounted it. */
export interface BindSources {
  readonly binds: readonly BoundSource[];
  release(): void;
}

/**
 * Everything of the node that appears in the container: the user's binds and volumes, the engine's three files (unless the
 * user mounts something in their place), secrets and configs.
 * @param isWanted of the user's mounts, secrets and configs: others are left out
 */
export async function bindSources(
  record: ContainerRecord,
  paths: ContainerPaths,
  volumes: VolumeStore,
  secrets: SecretFiles,
  isWanted: (place: { readonly target: string }) => boolean = () => true,
): Promise<BindSources> {
  const { spec } = record;
  const taken = new Set([...spec.mounts, ...record.volumes].map(({ target }) => cleanTarget(target)));
  const own = [
    ['/etc/hosts', paths.hosts],
    ['/etc/hostname', paths.hostname],
    ['/etc/resolv.conf', paths.resolvConf],
  ] as const;
  const binds: BoundSource[] = own
    .filter(([target]) => !taken.has(target))
    .map(([target, source]) => ({ source, target, readOnly: false, propagation: '', options: [] }));
  for (const mount of spec.mounts) {
    if (mount.type === 'bind' && isWanted(mount)) binds.push({ ...mount, options: [] });
  }
  record.files.forEach((file, index) => {
    const { target } = file;
    if (!isWanted(file)) return;
    const source = secrets.path(record.id, keyOf(file, index));
    binds.push({ source, target, readOnly: true, propagation: '', options: ['nosuid', 'nodev', 'noexec'] });
  });
  const sources: VolumeSource[] = [];
  const release = (): void => sources.splice(0).forEach((source) => source.release());
  try {
    for (const [index, use] of record.volumes.entries()) {
      if (!isWanted(use)) continue;
      const place = join(paths.runDir, `volume-${index}`);
      const source = await volumes.source(use.name, record.id, use.subpath, place);
      sources.push(source);
      binds.push({
        source: source.path,
        target: use.target,
        readOnly: use.readOnly || source.readOnly,
        propagation: '',
        options: [],
      });
    }
  } catch (error) {
    release();
    throw error;
  }
  return { binds, release };
}
