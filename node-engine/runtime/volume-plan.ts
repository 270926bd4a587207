import { randomBytes } from 'node:crypto';
import type { ContainerSpec } from '../../proto/types/index.ts';
import type { ImageConfig } from '../types.ts';
import { cleanTarget } from './mounts.ts';
import type { ContainerRecord, VolumeUse } from './record.ts';

/**
 * The volumes of a container: those of the spec, and an anonymous one for each path that the image declares as a volume and
 * nothing else is mounted at. Anonymous ones of an adopted container stay at their targets.
 */
export function planVolumes(
  spec: ContainerSpec,
  image: ImageConfig,
  adopted: ContainerRecord | undefined,
): readonly VolumeUse[] {
  const named = new Set(adopted?.spec.mounts.flatMap((mount) => (mount.type === 'volume' ? [mount.source] : [])));
  const kept = new Map(
    adopted?.volumes.filter(({ name }) => !named.has(name)).map(({ target, name }) => [cleanTarget(target), name]),
  );
  const anonymous = (target: string): string => kept.get(cleanTarget(target)) ?? randomBytes(32).toString('hex');
  const own = spec.mounts
    .filter((mount) => mount.type === 'volume')
    .map(({ source, target, readOnly, subpath }) => ({ name: source || anonymous(target), target, readOnly, subpath }));
  const taken = new Set(spec.mounts.map(({ target }) => cleanTarget(target)));
  const declared = [...new Set(image.volumes.map(cleanTarget))]
    .filter((target) => !taken.has(target))
    .map((target) => ({ name: anonymous(target), target, readOnly: false, subpath: '' }));
  return [...own, ...declared];
}
