import { posix } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import type { ContainerSpec, TmpfsMount } from '../../proto/types/index.ts';
import type { OciMount } from './oci.ts';

/** What the kernel shows of the machine and a container shall not see; Docker's list. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

/** What a container may read and not write; Docker's list. */
export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/** Files that the engine makes for each container. */
export const RESOLV_PATHS: readonly string[] = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];

/** Docker's default size of /dev/shm. */
export const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** A bind of something on the node: volumes, binds, files of the engine, secrets. */
export interface BoundSource {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** rprivate and so on; empty: rprivate. */
  readonly propagation: string;
  /** Beside `rbind`: nosuid, nodev, noexec. */
  readonly options: readonly string[];
}

export interface MountInput {
  readonly spec: Pick<ContainerSpec, 'privileged' | 'ipcMode' | 'shmBytes'>;
  readonly hostNetwork: boolean;
  readonly binds: readonly BoundSource[];
  readonly tmpfs: readonly TmpfsMount[];
}

/**
 * All mounts of a container in the order to be made: the kernel's file systems, then the user's, parents before children.
 * A mount of the user's takes the place of a default one of the same target; one over /dev drops the defaults below it.
 * @throws INVALID_INPUT when two mounts want the same target, or a target is not absolute
 */
export function resolveMounts(input: MountInput): readonly OciMount[] {
  const own = [...input.binds.map(bindMount), ...input.tmpfs.map(tmpfsMount)];
  const targets = new Set<string>();
  for (const { destination } of own) {
    if (targets.has(destination)) {
      throw new TsswarmError('INVALID_INPUT', `mounting "${destination}": two mounts have this target, expected one`);
    }
    targets.add(destination);
  }
  const defaults = defaultMounts(input).filter(
    ({ destination }) => !targets.has(destination) && !(targets.has('/dev') && destination.startsWith('/dev/')),
  );
  return [...defaults, ...sortByDepth(own)];
}

/** The clean form of a mount's target. @throws INVALID_INPUT when it is relative or the root itself */
export function cleanTarget(target: string): string {
  const clean = posix.normalize(target).replace(/(.)\/+$/, '$1');
  if (!clean.startsWith('/') || clean === '/') {
    throw new TsswarmError('INVALID_INPUT', `mounting "${target}": expected an absolute path other than "/"`);
  }
  return clean;
}

function defaultMounts({ spec, hostNetwork }: MountInput): readonly OciMount[] {
  const access = spec.privileged ? 'rw' : 'ro';
  const hostIpc = spec.ipcMode === 'host';
  const shmBytes = spec.shmBytes === 0 ? DEFAULT_SHM_BYTES : spec.shmBytes;
  const bind = (path: string): OciMount => ({
    destination: path,
    type: 'bind',
    source: path,
    options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev'],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    // sysfs shows the network namespace of the mounter; mounting it anew needs to own that namespace.
    hostNetwork
      ? { ...bind('/sys'), options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', access] }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', access],
    },
    // Of the container's IPC namespace, the node's own or not: not every node has it mounted.
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    hostIpc
      ? bind('/dev/shm')
      : {
          destination: '/dev/shm',
          type: 'tmpfs',
          source: 'shm',
          options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmBytes}`],
        },
  ];
}

function bindMount(bound: BoundSource): OciMount {
  return {
    destination: cleanTarget(bound.target),
    type: 'bind',
    source: bound.source,
    options: [
      'rbind',
      bound.propagation === '' ? 'rprivate' : bound.propagation,
      bound.readOnly ? 'ro' : 'rw',
      ...bound.options,
    ],
  };
}

function tmpfsMount(mount: TmpfsMount): OciMount {
  return {
    destination: cleanTarget(mount.target),
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'nodev', 'noexec', mount.readOnly ? 'ro' : 'rw', ...tmpfsOptions(mount)],
  };
}

/** What the file system itself is told. */
export const tmpfsOptions = ({ sizeBytes, mode }: TmpfsMount): readonly string[] => [
  ...(sizeBytes === 0 ? [] : [`size=${sizeBytes}`]),
  // 0 would be a folder that nobody but root can enter: read as "not given".
  `mode=${(mode === 0 ? 0o1777 : mode).toString(8)}`,
];

function sortByDepth(mounts: readonly OciMount[]): readonly OciMount[] {
  const depth = (mount: OciMount): number => mount.destination.split('/').length;
  return mounts.toSorted((a, b) => depth(a) - depth(b) || (a.destination < b.destination ? -1 : 1));
}
