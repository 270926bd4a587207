import { TsswarmError, isTsswarmError } from '../../../../base/errors.ts';
import type { ListObjectsResponse, Node, Service, Task } from '../../../../proto/types/index.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import type { LogSource } from '../../../render/index.ts';
import { watchInterrupts } from '../../../terminal/interrupts.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { ExitCode } from '../../../terminal/program.ts';
import { readTail, readTime, showLogs } from '../../../tscompose/logs/show.ts';
import { watchProject } from '../../../tscompose/project/watch.ts';
import { withNode } from '../../nodes/with-node.ts';
import { pickService, taskName } from '../find.ts';

export interface ServiceLogsOptions {
  readonly details?: boolean;
  readonly follow?: boolean;
  readonly raw?: boolean;
  readonly since?: string;
  readonly tail: string;
  readonly timestamps?: boolean;
  /** false with --no-resolve */
  readonly resolve: boolean;
  /** false with --no-task-ids */
  readonly taskIds: boolean;
  /** false with --no-trunc */
  readonly trunc: boolean;
}

const ID_COLUMNS = 12;

/** `tsswarm service logs`: the output of a service's tasks, or of one task, on whichever nodes they are. */
export function serviceLogs(
  place: NodePlace,
  name: string,
  options: ServiceLogsOptions,
  terminal: Terminal,
): Promise<void> {
  if (options.details === true)
    throw new TsswarmError('NOT_SUPPORTED', 'using --details: log lines carry no details yet');
  const range = {
    tail: readTail(options.tail),
    since: readTime(options.since, '--since', Date.now()),
    until: 0,
  };
  return withNode(place, async (node) => {
    const [objects, { nodes }] = await Promise.all([
      node.control.listObjects({ project: '' }),
      node.control.listNodes({}),
    ]);
    const { service, only } = findLogged(objects, name);
    const watch = await watchProject(node.control, '', service.id);
    const interrupts = watchInterrupts();
    const isChosen = (task: Task): boolean =>
      task.serviceId === service.id && (only === undefined || task.id === only.id);
    try {
      await showLogs({
        tasks: node.tasks,
        watch,
        shown: [...watch.view.tasks.values()].filter(isChosen),
        isChosen,
        sourceOf: (task) => logSource(task, service, nodes, options),
        range,
        follow: options.follow === true,
        style: terminal.outStyle,
        withPrefix: options.raw !== true,
        withTime: options.timestamps === true,
        write: (stream, text) => (stream === 'stdout' ? terminal.out(text) : terminal.err(text)),
        warn: (message) => terminal.err(`${terminal.errStyle('yellow', 'warning:')} ${message}\n`),
        signal: interrupts.first,
      });
      if (interrupts.first.aborted) throw new ExitCode(130);
    } finally {
      interrupts.close();
      watch.close();
    }
  });
}

/** The service that is meant, or the task and its service. @throws NOT_FOUND, CONFLICT */
export function findLogged(
  { services, tasks }: Pick<ListObjectsResponse, 'services' | 'tasks'>,
  name: string,
): { readonly service: Service; readonly only?: Task } {
  try {
    return { service: pickService(services, name) };
  } catch (error) {
    if (!isTsswarmError(error, 'NOT_FOUND')) throw error;
    const exact = tasks.find(({ id }) => id === name);
    const found = exact === undefined ? tasks.filter(({ id }) => name !== '' && id.startsWith(name)) : [exact];
    const [only] = found;
    const service = services.find(({ id }) => id === only?.serviceId);
    if (only === undefined || service === undefined)
      throw new TsswarmError('NOT_FOUND', `no such task or service: ${name}`, { hint: 'see tsswarm service ls' });
    if (found.length > 1)
      throw new TsswarmError('CONFLICT', `task ${name} is ambiguous (${found.length} matches found)`);
    return { service, only };
  }
}

/** "web.1.tgsvgbq6f2tq@m1": what stands before a line. */
export function logSource(
  task: Task,
  service: Service,
  nodes: readonly Node[],
  { resolve, taskIds, trunc }: Pick<ServiceLogsOptions, 'resolve' | 'taskIds' | 'trunc'>,
): LogSource {
  const id = trunc ? task.id.slice(0, ID_COLUMNS) : task.id;
  const host = nodes.find((node) => node.id === task.nodeId)?.description.hostname;
  const node = resolve ? (host ?? task.nodeId) : trunc ? task.nodeId.slice(0, ID_COLUMNS) : task.nodeId;
  const name = taskName(task, service);
  return { name: `${taskIds ? `${name}.${id}` : name}@${node}`, service: name };
}
