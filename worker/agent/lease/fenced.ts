import type { Mount, Task } from '../../../proto/types/index.ts';

/** What the engine knows of file systems. */
export interface FileSystems {
  /** Whether a path of this machine is written by this machine alone. */
  readonly isLocalPath: (path: string) => boolean;
}

/** Types of `driver_opts` whose data is this machine's: a disk of its own, or its memory. */
const OWN_TYPES = /^(|none|bind|tmpfs|ext[234]|xfs|btrfs|vfat|overlay)$/;

/**
 * Whether a task must not outlive the node's lease: another one may be started in its place on another node, which nobody here would
 * hear of, and the two would write the same files. Read-only mounts and what only this machine sees do no harm. docs/decisions/0011.
 */
export function isFenced({ spec, boundNode }: Task, files: FileSystems): boolean {
  // A global service's task is replaced on its own node only.
  if (boundNode !== undefined || spec.fencing === 'never') return false;
  return spec.fencing === 'always' || spec.container.mounts.some((mount) => writesWhatOthersSee(mount, files));
}

function writesWhatOthersSee(mount: Mount, { isLocalPath }: FileSystems): boolean {
  if (mount.readOnly || mount.type === 'tmpfs') return false;
  if (mount.type === 'bind') return !isLocalPath(mount.source);
  // Without a name it is the container's alone.
  if (mount.source === '') return false;
  const { type = '', o = '', device = '' } = mount.driverOptions;
  const isBind = type === 'bind' || o.split(',').some((option) => option === 'bind' || option === 'rbind');
  return isBind ? !isLocalPath(device) : !OWN_TYPES.test(type);
}
