import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { sleep } from '../../base/async.ts';
import { errnoOf } from '../../base/errors.ts';
import { killProcess } from './process.ts';

/** A mounted cgroup hierarchy. */
export interface CgroupMount {
  readonly path: string;
  readonly version: 1 | 2;
}

/** The cgroup hierarchies of the node (cgroups(7)); those mounted at several places come once. */
export function cgroupMounts(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): readonly CgroupMount[] {
  const found = new Map<string, CgroupMount>();
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , device = '', root, path = ''] = left.split(' ');
    const type = right.split(' ')[0];
    if (root !== '/' || found.has(device)) continue;
    if (type === 'cgroup') found.set(device, { path, version: 1 });
    else if (type === 'cgroup2') found.set(device, { path, version: 2 });
  }
  return [...found.values()];
}

/** "hybrid": version 1 controllers beside a version 2 hierarchy. */
export function cgroupVersion(mounts: readonly CgroupMount[]): 'v1' | 'v2' | 'hybrid' {
  const has = (version: 1 | 2): boolean => mounts.some((mount) => mount.version === version);
  if (has(1)) return has(2) ? 'hybrid' : 'v1';
  return 'v2';
}

/** File of this process's own cgroup in a version 1 hierarchy that moves cheaply; undefined where there is none. */
export function ownProcsFile(mounts: readonly CgroupMount[], selfCgroup: string): string | undefined {
  const controller = 'pids';
  const mount = mounts.find(({ path, version }) => version === 1 && basename(path).split(',').includes(controller));
  const line = selfCgroup.split('\n').find((one) => one.split(':')[1]?.split(',').includes(controller) === true);
  if (mount === undefined || line === undefined) return undefined;
  return join(mount.path, line.split(':').slice(2).join(':'), 'cgroup.procs');
}

/**
 * Returns what whoever is about to start a container calls beside other work. In version 1 the launcher moves processes between
 * cgroups, and the first move for a while waits for the kernel (a grace period of RCU under cgroup_threadgroup_rwsem: 10 ms and
 * more). Moving this process to where it is already has that wait behind it when the launcher comes. In version 2 processes
 * are born in their cgroups, and there is nothing to wait for.
 */
export function createMoveAhead(mounts: readonly CgroupMount[]): () => void {
  const file = ownProcsFile(mounts, readFileSync('/proc/self/cgroup', 'utf8'));
  let busy = false;
  return () => {
    if (file === undefined || busy) return;
    busy = true;
    // Not allowed here: the launcher waits, then.
    void writeFile(file, '0', { flag: 'r+' })
      .catch(() => undefined)
      .finally(() => (busy = false));
  };
}

const CONTAINER = /^[0-9a-f]{64}$/;

/** Names of containers' cgroups below the parent, in any hierarchy. */
export function listCgroups(mounts: readonly CgroupMount[], parent: string): readonly string[] {
  const names = mounts.flatMap(({ path }) => listFolders(join(path, parent)));
  return [...new Set(names)].filter((name) => CONTAINER.test(name));
}

/** How often and how long to wait for killed processes to leave. */
const ATTEMPTS = 100;
const PAUSE_MS = 20;

/**
 * Kills every process in a cgroup and removes it from every hierarchy, its children first.
 * @returns whether it is gone
 */
export async function destroyCgroup(
  mounts: readonly CgroupMount[],
  parent: string,
  name: string,
  clock: Clock,
): Promise<boolean> {
  const roots = mounts.map(({ path }) => join(path, parent, name));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const left = roots.filter((root) => !removeCgroup(root));
    if (left.length === 0) return true;
    await sleep(clock, PAUSE_MS);
  }
  return false;
}

/** Where the launcher puts supervisors in version 2, which allows no process beside groups with controllers (cgroup.c). */
const SUPERVISORS = 'supervisors';
/** A supervisor ends a moment after its container: how often that is waited for. */
const PARENT_ATTEMPTS = 25;

/**
 * Removes the parent's own cgroup, and the supervisors' below it, where it is empty; somebody else's processes or groups in it
 * keep it.
 */
export async function removeEmptyParent(mounts: readonly CgroupMount[], parent: string, clock: Clock): Promise<void> {
  const folders = mounts.flatMap(({ path }) => [join(path, parent, SUPERVISORS), join(path, parent)]);
  for (let attempt = 0; attempt < PARENT_ATTEMPTS; attempt++) {
    const busy = folders.map(removeEmptyFolder).includes(false);
    if (!busy) return;
    await sleep(clock, PAUSE_MS);
  }
}

/** @returns false when it is there and in use */
function removeEmptyFolder(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}

function removeCgroup(path: string): boolean {
  for (const child of listFolders(path)) if (!removeCgroup(join(path, child))) return false;
  thaw(path);
  try {
    for (const pid of readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n'))
      if (pid !== '') killProcess(Number(pid));
    rmdirSync(path);
    return true;
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}

/** A frozen process takes its SIGKILL only when it thaws (version 1; version 2 kills frozen ones). */
function thaw(path: string): void {
  try {
    writeFileSync(join(path, 'freezer.state'), 'THAWED', { flag: 'r+' });
  } catch {
    // Not the freezer's hierarchy, or the group is gone.
  }
}

function listFolders(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
