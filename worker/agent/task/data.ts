import type { Task } from '../../../proto/types/index.ts';

/**
 * Whether the task's data stays on its node, in named volumes, and is to be found there by the tasks after it. They follow it as soon as the
 * managers know where it is; so nothing may be written before they do, or a node that is cut off just then writes what nobody finds again,
 * while another one begins with nothing. A global service's task has its node for good.
 */
export const leavesData = ({ spec, boundNode }: Task): boolean =>
  boundNode === undefined && spec.container.mounts.some((mount) => mount.type === 'volume' && mount.source !== '');
