import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { durationWords, renderTable } from '../../render/index.ts';
import { cutTo } from '../../render/width.ts';
import { troubleOf } from '../nodes/words.ts';
import type { Terminal } from '../../terminal/index.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import { TsswarmError } from '../../../base/errors.ts';
import type { Node, Task } from '../../../proto/types/index.ts';

export interface TaskListOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

const ERROR_COLUMNS = 60;

/** Lists tasks, of one project or of all. */
export async function ps(
  place: NodePlace,
  project: string | undefined,
  options: TaskListOptions,
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    const [{ tasks, projects }, { nodes }] = await Promise.all([
      node.control.listObjects({ project: project ?? '' }),
      node.control.listNodes({}),
    ]);
    if (project !== undefined && projects.length === 0) {
      throw new TsswarmError('NOT_FOUND', `listing the tasks of "${project}": no such project`, {
        hint: 'see the projects with "tscompose ls"',
      });
    }
    const shown = tasks.filter((task) => options.all === true || !isFinal(task));
    if (options.quiet === true) for (const { id } of shown) terminal.out(`${id}\n`);
    else terminal.out(renderTasks(shown, nodes, Date.now(), options.trunc));
  } finally {
    node.close();
  }
}

/** @param now wall time, ms */
export function renderTasks(tasks: readonly Task[], nodes: readonly Node[], now: number, trunc: boolean): string {
  const down = new Set<string>(nodes.filter(({ status }) => status.state === 'down').map(({ id }) => id));
  const hostnames = new Map(nodes.map(({ id, description }) => [id as string, description.hostname]));
  const sorted = [...tasks].sort((a, b) => a.name.localeCompare(b.name) || b.meta.createdAt - a.meta.createdAt);
  return renderTable(
    ['ID', 'NAME', 'IMAGE', 'NODE', 'DESIRED', 'STATE', 'ERROR'],
    sorted.map((task) => [
      trunc ? task.id.slice(0, 12) : task.id,
      task.name,
      task.spec.container.image,
      hostnames.get(task.nodeId) ?? task.nodeId,
      task.desiredState,
      `${stateOf(task, down)} ${durationWords(now - task.status.timestamp).toLowerCase()} ago`,
      trunc ? cutTo(reasonOf(task), ERROR_COLUMNS) : reasonOf(task),
    ]),
  );
}

/** What a held one waits for is its state. */
const reasonOf = (task: Task): string => (task.held ? task.status.error : troubleOf(task));

function stateOf(task: Task, down: ReadonlySet<string>): string {
  const { status, held, nodeId } = task;
  if (held) return status.message;
  // Nobody hears of it.
  if (down.has(nodeId) && !isFinal(task)) return 'unknown (node down)';
  return status.state === 'running' && status.health !== 'none' ? `running (${status.health})` : status.state;
}
