import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupMount } from '../runtime/cgroups.ts';

/** A container's cgroup in each hierarchy; some may not be there. */
export function cgroupFolders(mounts: readonly CgroupMount[], parent: string, id: string): readonly string[] {
  return mounts.map(({ path }) => join(path, parent, id));
}

/** The first of these files that is there, in whichever hierarchy. */
export function readFirst(folders: readonly string[], ...names: readonly string[]): string | undefined {
  for (const name of names) {
    for (const folder of folders) {
      const text = readText(join(folder, name));
      if (text !== undefined) return text;
    }
  }
  return undefined;
}

/** Undefined where it cannot be read: kernels differ in what they have, and processes end. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Every process below, of the hierarchy that has most: one that is not used for containers has none. */
export function processesIn(folders: readonly string[]): readonly number[] {
  const lists = folders.map((folder) => [...new Set(membersOf(folder))]);
  return lists.reduce((most, list) => (list.length > most.length ? list : most), []).sort((a, b) => a - b);
}

function membersOf(folder: string): readonly number[] {
  const own = (readText(join(folder, 'cgroup.procs')) ?? '').split('\n').filter(Boolean).map(Number);
  return own.concat(childrenOf(folder).flatMap((name) => membersOf(join(folder, name))));
}

function childrenOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
