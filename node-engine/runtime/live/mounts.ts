import { TsswarmError } from '../../../base/errors.ts';
import { RESOLV_PATHS, cleanTarget } from '../mounts.ts';
import type { ContainerRecord } from '../record.ts';
import { keyOf } from '../record.ts';

/** What a container has mounted beside the kernel's file systems, as far as it tells one from another. */
interface OwnMount {
  readonly target: string;
  /** Equal: the same mount, which at most has other attributes. */
  readonly identity: string;
  readonly readOnly: boolean;
  /** Of a tmpfs; 0: half of the memory. */
  readonly sizeBytes?: number;
}

/** How a target is made what it shall be. */
export interface MountStep {
  readonly action: 'attach' | 'detach' | 'protect' | 'unprotect' | 'resize';
  readonly target: string;
  /** Of `resize`. */
  readonly sizeBytes: number;
}

/** Mounts that other parts of a container stand on: not below them, and not over them. */
const KERNEL = ['/proc', '/sys', '/dev'];
const DEVICES = ['/dev/pts', '/dev/shm', '/dev/mqueue'];

/**
 * What makes the mounts of one container those of another, parents before children; what goes, goes first.
 * @throws NOT_SUPPORTED for what a mount below, or the engine's own mounts, stand in the way of
 */
export function planMounts(before: ContainerRecord, after: ContainerRecord): readonly MountStep[] {
  const [old, fresh] = [mountsOf(before), mountsOf(after)];
  const gone = [...old.keys()].filter((target) => !fresh.has(target));
  const made = [...fresh.values()].filter((mount) => old.get(mount.target)?.identity !== mount.identity);
  const changed = new Set([...gone, ...made.map(({ target }) => target)]);
  for (const target of changed) refuseImpossible(target, after.name, [...old.keys(), ...fresh.keys()], changed);
  const step = (action: MountStep['action'], target: string, sizeBytes = 0): MountStep => ({
    action,
    target,
    sizeBytes,
  });
  const steps: MountStep[] = gone.sort(deepestFirst).map((target) => step('detach', target));
  for (const { target } of made.sort((a, b) => deepestFirst(b.target, a.target))) steps.push(step('attach', target));
  for (const { target, readOnly, sizeBytes = 0 } of fresh.values()) {
    const known = old.get(target);
    if (known === undefined || changed.has(target)) continue;
    if (known.readOnly !== readOnly) steps.push(step(readOnly ? 'protect' : 'unprotect', target));
    if ((known.sizeBytes ?? 0) !== sizeBytes) steps.push(step('resize', target, sizeBytes));
  }
  return steps;
}

function mountsOf({ spec, volumes, files }: ContainerRecord): Map<string, OwnMount> {
  const mounts: OwnMount[] = [];
  for (const mount of spec.mounts) {
    const target = cleanTarget(mount.target);
    const { readOnly } = mount;
    if (mount.type === 'bind') {
      mounts.push({ target, identity: `bind ${mount.propagation} ${mount.source}`, readOnly });
    } else if (mount.type === 'tmpfs') {
      mounts.push({ target, identity: `tmpfs ${mount.mode}`, readOnly, sizeBytes: mount.sizeBytes });
    }
  }
  for (const { name, target, readOnly, subpath } of volumes)
    mounts.push({ target: cleanTarget(target), identity: `volume ${name} ${subpath}`, readOnly });
  files.forEach((file, index) => {
    mounts.push({ target: cleanTarget(file.target), identity: `file ${keyOf(file, index)}`, readOnly: true });
  });
  return new Map(mounts.map((mount) => [mount.target, mount]));
}

const depth = (target: string): number => target.split('/').length;
const deepestFirst = (a: string, b: string): number => depth(b) - depth(a) || (a < b ? -1 : 1);
const isBelow = (target: string, above: string): boolean => target.startsWith(`${above}/`);

function refuseImpossible(target: string, name: string, all: readonly string[], changed: ReadonlySet<string>): void {
  const refuse = (reason: string): never => {
    throw new TsswarmError('NOT_SUPPORTED', `mounting "${target}" in the running container "${name}": ${reason}`);
  };
  if (KERNEL.includes(target) || DEVICES.includes(target) || isBelow(target, '/proc') || isBelow(target, '/sys'))
    refuse("it is, or is in, one of the kernel's file systems");
  if (RESOLV_PATHS.includes(target)) refuse("it takes the place of one of the engine's own files");
  const below = all.find((other) => isBelow(other, target) && !changed.has(other));
  if (below !== undefined) refuse(`"${below}" is mounted below it`);
}
