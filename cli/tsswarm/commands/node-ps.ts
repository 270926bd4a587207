import { isOpenPort } from '../../../base/published-port.ts';
import { pickNode } from '../../../manager/cluster/find-node.ts';
import type { Node, Task } from '../../../proto/types/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderList } from '../../render/format.ts';
import type { Column } from '../../render/format.ts';
import { durationWords } from '../../render/index.ts';
import { cutTo } from '../../render/width.ts';
import type { Terminal } from '../../terminal/index.ts';
import { filterTasks } from '../nodes/filters.ts';
import { idOf, withNode } from '../nodes/with-node.ts';
import { byName, capital, troubleOf } from '../nodes/words.ts';
import { portWords } from '../services/list.ts';

export interface NodeTasksOptions {
  readonly quiet?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly trunc: boolean;
  readonly resolve: boolean;
}

const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'ID' },
  { name: 'Name', heading: 'NAME' },
  { name: 'Image', heading: 'IMAGE' },
  { name: 'Node', heading: 'NODE' },
  { name: 'DesiredState', heading: 'DESIRED STATE' },
  { name: 'CurrentState', heading: 'CURRENT STATE' },
  { name: 'Error', heading: 'ERROR' },
  { name: 'Ports', heading: 'PORTS' },
  { name: 'Applied', heading: 'APPLIED' },
];
const ID_COLUMNS = 12;
const ERROR_COLUMNS = 30;
const APPLIED_COLUMNS = 60;

/** `tsswarm node ps`: the tasks on nodes, those that have ended too. */
export function nodeTasks(
  place: NodePlace,
  names: readonly string[],
  options: NodeTasksOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const wanted = await Promise.all((names.length === 0 ? ['self'] : names).map((name) => idOf(node, name)));
    const [{ nodes }, { tasks }] = await Promise.all([
      node.control.listNodes({}),
      node.control.listObjects({ project: '' }),
    ]);
    const chosen = new Set<string>(wanted.map((name) => pickNode(nodes, name).id));
    const shown = filterTasks(
      tasks.filter(({ nodeId }) => chosen.has(nodeId)),
      options.filter ?? [],
    );
    terminal.out(renderNodeTasks(shown, nodes, Date.now(), options));
  });
}

/**
 * As `docker node ps`: the tasks of a slot below each other, the newest first.
 * @param now wall time, ms
 * @param nameOf what a task is called
 */
export function renderNodeTasks(
  tasks: readonly Task[],
  nodes: readonly Node[],
  now: number,
  { quiet, format, trunc, resolve }: NodeTasksOptions,
  nameOf: (task: Task) => string = (task) => task.name,
): string {
  const hostnames = new Map(nodes.map(({ id, description }) => [id as string, description.hostname]));
  const sorted = [...tasks].sort((a, b) => byName(nameOf(a), nameOf(b)) || b.meta.createdAt - a.meta.createdAt);
  const idOfTask = (id: string): string => (trunc ? id.slice(0, ID_COLUMNS) : id);
  if (quiet === true && format === undefined) return sorted.map(({ id }) => `${idOfTask(id)}\n`).join('');
  const table = format === undefined || format.startsWith('table');
  const rows = sorted.map((task, index) => {
    const { status, nodeId } = task;
    const name = nameOf(task);
    const above = sorted[index - 1];
    const isOlder = above !== undefined && nameOf(above) === name && above.serviceId === task.serviceId;
    const trouble = troubleOf(task);
    const error = trunc ? cutTo(trouble, ERROR_COLUMNS) : trouble;
    return {
      ID: idOfTask(task.id),
      Name: table && isOlder ? ` \\_ ${name}` : name,
      Image: task.spec.container.image,
      Node: resolve ? (hostnames.get(nodeId) ?? nodeId) : nodeId,
      DesiredState: capital(task.desiredState),
      CurrentState: `${capital(status.state)} ${durationWords(now - status.timestamp).toLowerCase()} ago`,
      Error: error === '' ? '' : `"${error}"`,
      Ports: task.ports
        .filter((port) => !isOpenPort(port))
        .map(portWords)
        .join(','),
      Applied: trunc ? cutTo(appliedWords(task), APPLIED_COLUMNS) : appliedWords(task),
    };
  });
  return renderList(format, COLUMNS, rows);
}

/** "3 live", "2 replaced: task.container.image: a running process keeps its program". */
function appliedWords({ status: { applied, refused } }: Task): string {
  if (applied === undefined) return '';
  const why = applied.reason === '' ? '' : `: ${applied.reason}`;
  const not = refused === undefined ? '' : `; not ${refused.specVersion}: ${refused.reason}`;
  return `${applied.specVersion} ${applied.how}${why}${not}`;
}
