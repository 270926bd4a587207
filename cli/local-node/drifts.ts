import type { Drift, Task, UnreachableNode } from '../../proto/types/index.ts';
import type { NodeClient } from './index.ts';

/** What is known of changes by hand. */
export interface KnownDrifts {
  /** Task id → what was found; tasks with nothing found may be missing. */
  readonly drifts: ReadonlyMap<string, readonly Drift[]>;
  /** Of their tasks it is what they said last. */
  readonly unreachable: readonly UnreachableNode[];
}

/** Has the nodes of tasks look at their containers now. */
export async function driftsOf(node: NodeClient, tasks: readonly Task[]): Promise<KnownDrifts> {
  const running = tasks.filter(({ status }) => status.state === 'running');
  const drifts = new Map(tasks.map(({ id, status }) => [id as string, status.drifts ?? []]));
  if (running.length === 0) return { drifts, unreachable: [] };
  const { containers, unreachable = [] } = await node.tasks.containers({
    taskIds: running.map(({ id }) => id),
    look: true,
  });
  for (const { taskId, drifts: found } of containers) if (found !== undefined) drifts.set(taskId, found);
  return { drifts, unreachable };
}
