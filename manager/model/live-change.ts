import type { Task } from '../../proto/types/index.ts';

/** Its container is being made what its spec says, and its node has not said yet what became of that. */
export const isChanging = ({ changing }: Task): boolean => changing !== undefined;

/**
 * The task after its node has reported: a change that is done is done; one that its container did not take is taken back, and the
 * task is of its old spec again, so that it is replaced in its turn.
 */
export function settleChange(task: Task): Task {
  const { changing, ...settled } = task;
  if (changing === undefined) return task;
  const { applied, refused } = task.status;
  if (applied?.specVersion === task.specVersion) return settled;
  if (refused?.specVersion !== task.specVersion) return task;
  const { spec, specVersion, addresses = [] } = changing;
  return { ...settled, spec, specVersion, refused, ...(addresses.length === 0 ? {} : { addresses }) };
}
