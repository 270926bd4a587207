import { isTsswarmError } from '../../../base/errors.ts';
import { renderTable } from '../../render/index.ts';
import type { Context } from '../context.ts';
import { readExisting } from '../project/existing.ts';
import { containersOf } from './ps.ts';

/** Shows the processes of containers, as `ps -ef` on their nodes does. */
export async function top(context: Context, names: readonly string[]): Promise<void> {
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, await context.projectName(), names);
    const running = containersOf(existing.services, existing.tasks)
      .filter(({ service }) => names.length === 0 || names.includes(service.spec.composeName))
      .filter(({ task }) => task.status.state === 'running');
    const tables = await Promise.all(
      running.map(async ({ service, task }) => {
        try {
          const { titles, processes } = await node.tasks.top({ taskId: task.id });
          const index = task.oneOff ? task.name : String(task.slot);
          return { titles, rows: processes.map(({ values }) => [service.spec.composeName, index, ...values]) };
        } catch (error) {
          // It has ended since, or its node cannot be reached: the others are shown all the same.
          if (!isTsswarmError(error) || !PASSABLE.has(error.code)) throw error;
          context.warn(error.message);
          return { titles: [], rows: [] };
        }
      }),
    );
    const titles = tables.find((table) => table.titles.length > 0)?.titles;
    if (titles === undefined) return;
    context.terminal.out(
      renderTable(
        ['SERVICE', '#', ...titles],
        tables.flatMap(({ rows }) => rows),
      ),
    );
  } finally {
    node.close();
  }
}

const PASSABLE = new Set<string>(['NODE_UNREACHABLE', 'UNAVAILABLE', 'NOT_FOUND', 'CONTAINER_NOT_RUNNING']);
