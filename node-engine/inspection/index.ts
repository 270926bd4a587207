/** Looks into containers from outside: what they use, and their processes. */
import { TsswarmError } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { CgroupMount } from '../runtime/cgroups.ts';
import type { ContainerInfo, Containers, Inspection } from '../types.ts';
import { cgroupFolders } from './cgroup-files.ts';
import { processTable } from './processes.ts';
import { usageOf } from './usage.ts';

export interface InspectionParts {
  readonly containers: Pick<Containers, 'inspect'>;
  readonly cgroups: readonly CgroupMount[];
  /** Name of the cgroup above the containers' ones. */
  readonly cgroupParent: string;
}

/** Reads from the kernel at each call; nothing is kept. */
export function createInspection({ containers, cgroups, cgroupParent }: InspectionParts): Inspection {
  const running = (id: ContainerId, action: string): ContainerInfo => {
    const info = containers.inspect(id);
    if (info === undefined)
      throw new TsswarmError('NOT_FOUND', `${action} container "${id.slice(0, 12)}": there is no such container`);
    if (info.state === 'running') return info;
    throw new TsswarmError(
      'CONTAINER_NOT_RUNNING',
      `${action} container "${info.name}": it is ${info.state}, expected running`,
    );
  };
  return {
    usage: (id) => usageOf(cgroupFolders(cgroups, cgroupParent, id), running(id, 'measuring').pid),
    processes: (id) => processTable(cgroupFolders(cgroups, cgroupParent, id), running(id, 'listing processes of').pid),
  };
}
