import type { Task } from '../../proto/types/index.ts';
import { hasTemplate } from '../../base/template/index.ts';
import { bindSourcesOf } from './bind-sources.ts';
import { isFinal, reached } from './task-state.ts';

/** File systems whose data lies on another machine: such a volume is the same one on every node. */
const REMOTE_TYPES = /^(nfs4?|cifs|smb3?|ceph|glusterfs|9p)$/;

/** Names of the task's volumes whose data lies on one node. Volumes without a name are the task's alone. */
export const localVolumesOf = (task: Pick<Task, 'spec'>): readonly string[] => volumesOf(task, false);

/** Also of those that are the same everywhere: what they are known by on a node is removed with them. */
export const namedVolumesOf = (task: Task): readonly string[] => volumesOf(task, true);

/** What ties a task to nodes: volumes whose data lies on one, and paths of its machine. */
export const placesOf = (task: Pick<Task, 'spec'>): readonly string[] => [
  ...localVolumesOf(task),
  ...bindSourcesOf(task.spec),
];

function volumesOf(task: Pick<Task, 'spec'>, withRemote: boolean): readonly string[] {
  const names: string[] = [];
  for (const mount of task.spec.container.mounts) {
    // What still has a template names its node: it is another volume on each.
    if (mount.type !== 'volume' || mount.source === '' || hasTemplate(mount.source)) continue;
    if (mount.driver !== 'local' && mount.driver !== 'external') continue;
    if (!withRemote && REMOTE_TYPES.test(mount.driverOptions['type'] ?? '')) continue;
    names.push(mount.source);
  }
  return names;
}

/** Whether the task's container was made on its node, and its volumes with it: what the task left there is data. */
export const madeItsVolumes = (task: Task): boolean =>
  task.nodeId !== '' && (task.status.containerId !== '' || (reached(task.status.state, 'ready') && !isFinal(task)));
