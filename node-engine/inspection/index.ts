/** Looks into containers from outside: what they use, their processes, their files. */
import { TsswarmError } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { CgroupMount } from '../runtime/cgroups.ts';
import type { ContainerService } from '../runtime/containers.ts';
import type { ContainerInfo, Containers, Inspection } from '../types.ts';
import { cgroupFolders } from './cgroup-files.ts';
import { fileTree } from './files.ts';
import { processTable } from './processes.ts';
import { usageOf } from './usage.ts';

export { fileTree } from './files.ts';

export interface InspectionParts {
  readonly containers: Pick<Containers, 'inspect'> & Pick<ContainerService, 'withRoot'>;
  /** Path of tsrun. */
  readonly launcherPath: string;
  readonly cgroups: readonly CgroupMount[];
  /** Name of the cgroup above the containers' ones. */
  readonly cgroupParent: string;
}

/** Reads from the kernel at each call; nothing is kept. */
export function createInspection({ containers, launcherPath, cgroups, cgroupParent }: InspectionParts): Inspection {
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
    files: (id, work) =>
      containers.withRoot(id, (root, name) =>
        work(fileTree({ program: launcherPath, root, name: `container "${name}"` })),
      ),
    usage: (id) => usageOf(cgroupFolders(cgroups, cgroupParent, id), running(id, 'measuring').pid),
    processes: (id) => processTable(cgroupFolders(cgroups, cgroupParent, id), running(id, 'listing processes of').pid),
  };
}
