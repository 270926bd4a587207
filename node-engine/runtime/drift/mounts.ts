import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import { takeMountSteps, inside, resizeShm } from '../live/namespaces.ts';
import type { MountStep } from '../live/mounts.ts';
import { DEFAULT_SHM_BYTES, READONLY_PATHS, RESOLV_PATHS, cleanTarget } from '../mounts.ts';
import type { ContainerParts } from '../parts.ts';
import type { ContainerRecord } from '../record.ts';
import { INIT_PATH } from '../spec.ts';
import type { Difference, Freedom } from './difference.ts';
import type { MountEntry } from './mount-table.ts';
import { mountOf, mountsAt, parseMountTable, sizeOf } from './mount-table.ts';

type Parts = Pick<ContainerParts, 'calls' | 'disk' | 'volumes' | 'secrets'>;

const RDONLY = 1;
/** The kernel counts in pages. */
const LARGEST_PAGE = 65_536;
/** A path has no more links than this (path_resolution(7)). */
const MOST_LINKS = 40;

/** One of the container's own mounts, as it shall be. */
interface OwnMount {
  readonly target: string;
  readonly readOnly: boolean;
  /** Of a tmpfs; 0: half of the memory. */
  readonly sizeBytes?: number;
  /** Where it comes from on the node; absent: nowhere. */
  readonly source?: string;
  /** Mounts on the node appear in it, on it too. */
  readonly receives?: boolean;
}

/**
 * Mounts of a container that are gone, covered, writable where they should not be or the other way round, of another size; and such as
 * are not its own. Where a mount comes from is not looked at: a source that was renamed or replaced on the node stays what it was.
 * @param table the container's /proc/PID/mountinfo
 */
export function mountDifferences(
  parts: Parts,
  pid: number,
  record: ContainerRecord,
  freedom: Freedom,
  table: readonly MountEntry[],
): readonly Difference[] {
  if (freedom.mounts) return [];
  const found: { readonly difference: Omit<Difference, 'mend'>; readonly steps: readonly MountStep[] }[] = [];
  const seen = new Set<string>();
  for (const own of mountsOf(parts, record)) {
    const target = placeOf(table, pid, own.target);
    seen.add(target);
    const steps = stepsFor(own, mountsAt(table, target), target);
    if (steps !== undefined) found.push(steps);
  }
  if (record.spec.init) seen.add(placeOf(table, pid, INIT_PATH));
  const isOurs = (path: string): boolean => seen.has(path) || [...seen].some((own) => path.startsWith(`${own}/`));
  const mend = (): Promise<void> => {
    const steps = found.flatMap((one) => one.steps);
    refuseCovering(table, steps, record.name);
    // What is attached, parents before children.
    const depth = ({ target }: MountStep): number => target.split('/').length;
    return takeMountSteps(
      parts,
      pid,
      record,
      steps.toSorted((a, b) => rank(a) - rank(b) || depth(a) - depth(b)),
    );
  };
  return [
    ...found.map(({ difference }) => ({ ...difference, mend })),
    ...rootDifferences(parts, pid, record, table),
    ...kernelDifferences(parts, pid, record, freedom, table),
    ...shmDifferences(parts, pid, record, table),
    ...strangers(table, isOurs),
  ];
}

const rank = ({ action }: MountStep): number => (action === 'detach' ? 0 : 1);

function stepsFor(
  { target: name, readOnly, sizeBytes, source, receives }: OwnMount,
  stack: readonly MountEntry[],
  place: string,
): { readonly difference: Omit<Difference, 'mend'>; readonly steps: readonly MountStep[] } | undefined {
  const step = (action: MountStep['action'], size = 0): MountStep => ({ action, target: name, sizeBytes: size });
  const differs = (expected: string, found: string, ...steps: readonly MountStep[]) => ({
    difference: { field: `mount ${place}`, expected, found },
    steps,
  });
  const [top, below] = stack;
  const access = readOnly ? 'read-only' : 'writable';
  if (top === undefined) return differs('mounted', 'nothing is mounted there', step('attach'));
  if (below !== undefined && receives !== true)
    return differs('mounted', `another mount (${top.type}) lies over it`, step('detach'), step('attach'));
  if (sizeBytes !== undefined && top.type !== 'tmpfs')
    return differs('tmpfs', top.type, step('detach'), step('attach'));
  const isReadOnly = top.options.includes('ro');
  if (readOnly && !isReadOnly) return differs(access, 'writable', step('protect'));
  if (!readOnly && isReadOnly && !isReadOnlyOnNode(source)) return differs(access, 'read-only', step('unprotect'));
  if (sizeBytes === undefined) return undefined;
  const size = sizeOf(top);
  if (size === sizeBytes || (sizeBytes > 0 && size > sizeBytes && size - sizeBytes < LARGEST_PAGE)) return undefined;
  const words = (bytes: number): string => (bytes === 0 ? 'half of the memory' : `${bytes} bytes`);
  return differs(words(sizeBytes), words(size), step('resize', sizeBytes));
}

/** What cannot be written on the node cannot be written in a container. */
function isReadOnlyOnNode(source: string | undefined): boolean {
  if (source === undefined) return false;
  const mount = mountOf(parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8')), source);
  return mount?.options.includes('ro') === true;
}

function mountsOf({ disk, volumes }: Parts, { id, spec, volumes: uses, files }: ContainerRecord): OwnMount[] {
  const mounts: OwnMount[] = [];
  for (const mount of spec.mounts) {
    const target = cleanTarget(mount.target);
    const { readOnly } = mount;
    if (mount.type === 'bind') {
      const receives = /shared|slave/.test(mount.propagation);
      mounts.push({ target, readOnly, source: mount.source, receives });
    } else if (mount.type === 'tmpfs') mounts.push({ target, readOnly, sizeBytes: mount.sizeBytes });
  }
  for (const { name, target, readOnly } of uses) {
    const source = volumes.inspect(name)?.mountpoint;
    mounts.push({ target: cleanTarget(target), readOnly, ...(source === undefined ? {} : { source }) });
  }
  for (const { target } of files) mounts.push({ target: cleanTarget(target), readOnly: true });
  const taken = new Set(mounts.map(({ target }) => target));
  const { hosts, hostname, resolvConf } = disk.paths(id);
  const own = { '/etc/hosts': hosts, '/etc/hostname': hostname, '/etc/resolv.conf': resolvConf };
  for (const [target, source] of Object.entries(own))
    if (!taken.has(target)) mounts.push({ target, readOnly: false, source });
  return mounts;
}

/** Where a target is: links on the way are followed as the container sees them. */
function placeOf(table: readonly MountEntry[], pid: number, target: string): string {
  if (table.some((entry) => entry.target === target)) return target;
  let done = '';
  const left = target.split('/').filter(Boolean);
  for (let links = 0; left.length > 0;) {
    const next = posix.join(done === '' ? '/' : done, left.shift() ?? '');
    const link = linkAt(`/proc/${pid}/root${next}`);
    if (link === undefined || ++links > MOST_LINKS) {
      done = next;
      continue;
    }
    const words = link.split('/').filter(Boolean);
    left.unshift(...words);
    if (link.startsWith('/')) done = '';
  }
  return done === '' ? '/' : done;
}

function linkAt(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function refuseCovering(table: readonly MountEntry[], steps: readonly MountStep[], name: string): void {
  const attached = new Set(steps.filter(({ action }) => action === 'attach').map(({ target }) => target));
  for (const target of attached) {
    const below = table.find((entry) => entry.target.startsWith(`${target}/`) && !attached.has(entry.target));
    if (below === undefined || steps.some((one) => one.action === 'detach' && one.target === target)) continue;
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `mounting "${target}" in the running container "${name}" again: "${below.target}" is mounted below it`,
    );
  }
}

/** A root that shall not be written. */
function rootDifferences(
  { calls }: Parts,
  pid: number,
  { spec, name }: ContainerRecord,
  table: readonly MountEntry[],
): readonly Difference[] {
  const [root] = mountsAt(table, '/');
  if (root === undefined) return [];
  const isReadOnly = root.options.includes('ro');
  if (isReadOnly === spec.readOnly) return [];
  const flag = spec.readOnly ? { set: RDONLY } : { clear: RDONLY };
  const words = (readOnly: boolean): string => (readOnly ? 'read-only' : 'writable');
  const change = { kind: 'attributes', target: '/', value: '', ...flag } as const;
  const mend = (): Promise<void> => inside({ calls }, pid, name, [change], 'MOUNT_FAILED');
  return [{ field: 'mount /', expected: words(spec.readOnly), found: words(isReadOnly), mend }];
}

/** What of the kernel's file systems a container may read and not write. */
function kernelDifferences(
  { calls }: Parts,
  pid: number,
  { name }: ContainerRecord,
  { sysctls }: Freedom,
  table: readonly MountEntry[],
): readonly Difference[] {
  if (sysctls) return [];
  return [...READONLY_PATHS, '/sys'].flatMap((target) => {
    const [top] = mountsAt(table, target);
    if (top === undefined || top.options.includes('ro')) return [];
    const change = { kind: 'attributes', target, value: '', set: RDONLY } as const;
    const mend = (): Promise<void> => inside({ calls }, pid, name, [change], 'MOUNT_FAILED');
    return [{ field: `mount ${target}`, expected: 'read-only', found: 'writable', mend }];
  });
}

function shmDifferences(
  { calls, disk, volumes, secrets }: Parts,
  pid: number,
  { spec, name }: ContainerRecord,
  table: readonly MountEntry[],
): readonly Difference[] {
  if (spec.ipcMode === 'host' || spec.mounts.some(({ target }) => cleanTarget(target) === '/dev/shm')) return [];
  const [top] = mountsAt(table, '/dev/shm');
  if (top === undefined || top.type !== 'tmpfs') return [];
  const expected = spec.shmBytes || DEFAULT_SHM_BYTES;
  const size = sizeOf(top);
  if (size === expected || (size > expected && size - expected < LARGEST_PAGE)) return [];
  const mend = (): Promise<void> => resizeShm({ calls, disk, volumes, secrets }, pid, expected, name);
  return [{ field: 'shm_size', expected: `${expected} bytes`, found: `${size} bytes`, mend }];
}

/** Mounts that nobody asked for. Somebody may look into the container by them: they are told and left. */
function strangers(table: readonly MountEntry[], isOurs: (target: string) => boolean): readonly Difference[] {
  const known = [...RESOLV_PATHS, '/', '/proc', '/sys', '/dev'];
  const isKernels = (target: string): boolean => /^\/(proc|sys|dev)\//.test(target);
  return table
    .filter(({ target }) => !known.includes(target) && !isKernels(target) && !isOurs(target))
    .map(({ target, type }) => ({
      field: `mount ${target}`,
      expected: 'nothing is mounted there',
      found: type,
      tolerated: 'it is not known what it is there for: unmount it, or add it to the service',
    }));
}
