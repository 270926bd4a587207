import type { Task } from '../../proto/types/index.ts';

/** Its container is being made what its spec says, and its node has not said yet what became of that. */
export const isChanging = ({ changing }: Task): boolean => changing !== undefined;

/**
 * The task after its node has reported: a change that is done is done; one that its container did not take is taken back, and the
 * task is of its old spec again, so that it is replaced in its turn. So is one that its container was no longer there for: it ended
 * with what it had, which says nothing about what it was to become, and an update is not judged by it.
 */
export function settleChange(task: Task): Task {
  const { changing, ...settled } = task;
  if (changing === undefined) return task;
  const { applied, refused, state } = task.status;
  if (applied?.specVersion === task.specVersion) return settled;
  const isRefused = refused?.specVersion === task.specVersion;
  // What is told to stop may be started again with what it was to become.
  const hasEnded = state === 'failed' || state === 'complete';
  if (!isRefused && !hasEnded) return task;
  const { spec, specVersion, addresses = [] } = changing;
  const former = { ...settled, spec, specVersion, ...(addresses.length === 0 ? {} : { addresses }) };
  return isRefused ? { ...former, refused } : former;
}
