import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LiveFeature } from '../../../proto/types/index.ts';
import type { CgroupMount } from '../cgroups.ts';
import type { DeviceProgramCalls } from './devices.ts';

/**
 * What can be changed in running containers where the kernel has what it takes: rules of devices that can be read and written
 * (version 1) or are a program that can be replaced (version 2), and limits of block I/O in either version.
 */
export function foundFeatures(cgroups: readonly CgroupMount[], calls: DeviceProgramCalls): readonly LiveFeature[] {
  const has = (file: string): boolean => cgroups.some(({ path }) => existsSync(join(path, file)));
  return [
    ...(has('devices.allow') || takesDevicePrograms(cgroups, calls) ? ['devices' as const] : []),
    ...(has('blkio.throttle.read_bps_device') || cgroups.some(hasIo) ? ['blockIo' as const] : []),
  ];
}

/** A kernel may lack such programs, and a container that we run in ourselves may be forbidden to load or to look at them. */
function takesDevicePrograms(cgroups: readonly CgroupMount[], calls: DeviceProgramCalls): boolean {
  const root = cgroups.find(({ version }) => version === 2)?.path;
  if (root === undefined) return false;
  try {
    calls.deviceProgramTag([]);
    calls.attachedDeviceProgram(root);
    return true;
  } catch {
    return false;
  }
}

function hasIo({ path, version }: CgroupMount): boolean {
  if (version !== 2) return false;
  try {
    return readFileSync(join(path, 'cgroup.controllers'), 'utf8').trim().split(' ').includes('io');
  } catch {
    return false;
  }
}
