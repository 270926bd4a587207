import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LiveFeature } from '../../../proto/types/index.ts';
import type { CgroupMount } from '../cgroups.ts';

/**
 * What can be changed in running containers where the kernel has what it takes: rules of devices that can be read and written
 * (version 1; version 2 loads a program when a container starts), and limits of block I/O in either version.
 */
export function foundFeatures(cgroups: readonly CgroupMount[]): readonly LiveFeature[] {
  const has = (file: string): boolean => cgroups.some(({ path }) => existsSync(join(path, file)));
  return [
    ...(has('devices.allow') ? ['devices' as const] : []),
    ...(has('blkio.throttle.read_bps_device') || cgroups.some(hasIo) ? ['blockIo' as const] : []),
  ];
}

function hasIo({ path, version }: CgroupMount): boolean {
  if (version !== 2) return false;
  try {
    return readFileSync(join(path, 'cgroup.controllers'), 'utf8').trim().split(' ').includes('io');
  } catch {
    return false;
  }
}
