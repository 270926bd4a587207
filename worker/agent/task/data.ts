import type { Mount, Task } from '../../../proto/types/index.ts';

/**
 * Whether the task's data stays on its node, in named volumes or folders that are made for it, and is to be found there by the tasks after
 * it. They follow it as soon as the managers know where it is; so nothing may be written before they do, or a node that is cut off just then
 * writes what nobody finds again, while another one begins with nothing. A global service's task has its node for good.
 */
export const leavesData = ({ spec, boundNode }: Task): boolean =>
  boundNode === undefined && spec.container.mounts.some(isKept);

const isKept = (mount: Mount): boolean =>
  mount.type === 'volume' ? mount.source !== '' : mount.type === 'bind' && mount.createHostPath;
