import { TsswarmError } from '../../../base/errors.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import { driftsOf } from '../../local-node/drifts.ts';
import { renderDrifts } from '../../render/drifts.ts';
import { durationWords, renderTable } from '../../render/index.ts';
import { cutTo } from '../../render/width.ts';
import type { ContainerSummary, Service, Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { Context } from '../context.ts';
import { ProjectView } from '../project/view.ts';
import { readExisting } from '../project/existing.ts';
import { describeState, portsOf, publishersOf, stateWord } from '../containers/describe.ts';

export interface PsOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly services?: boolean;
  readonly format: string;
  readonly status?: readonly string[];
  readonly trunc: boolean;
  readonly drift?: boolean;
}

const COMMAND_COLUMNS = 22;

/** Lists a project's containers. */
export async function ps(context: Context, names: readonly string[], options: PsOptions): Promise<void> {
  if (options.format !== 'table' && options.format !== 'json') {
    throw new TsswarmError('INVALID_INPUT', `using --format "${options.format}": expected table or json`);
  }
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, await context.projectName(), names);
    const known = await summariesOf(node, existing.tasks);
    const containers = containersOf(existing.services, existing.tasks, known)
      .filter(({ service }) => names.length === 0 || names.includes(service.spec.composeName))
      .filter(({ task }) =>
        options.status === undefined
          ? options.all === true || !isFinal(task)
          : options.status.includes(stateWord(task)),
      );
    const { out } = context.terminal;
    if (options.drift === true) {
      out(await driftTable(node, containers, options));
      return;
    }
    if (options.services === true) {
      for (const name of new Set(containers.map(({ service }) => service.spec.composeName))) out(`${name}\n`);
    } else if (options.quiet === true) {
      for (const { task } of containers) if (task.status.containerId !== '') out(`${task.status.containerId}\n`);
    } else if (options.format === 'json') {
      for (const one of containers) out(`${JSON.stringify(toJson(one))}\n`);
    } else out(renderContainers(containers, Date.now(), options.trunc));
  } finally {
    node.close();
  }
}

/** What was found changed by hand, also on nodes that have to be asked. */
async function driftTable(
  node: NodeClient,
  containers: readonly Container[],
  { format, trunc }: PsOptions,
): Promise<string> {
  const { nodes } = await node.control.listNodes({});
  const hostnames = new Map(nodes.map(({ id, description }) => [id as string, description.hostname]));
  const { drifts } = await driftsOf(
    node,
    containers.map(({ task }) => task),
  );
  const found = containers.flatMap(({ task }) =>
    (drifts.get(task.id) ?? []).map((drift) => ({
      task: task.name,
      node: hostnames.get(task.nodeId) ?? task.nodeId,
      drift,
    })),
  );
  return renderDrifts(found, Date.now(), format === 'json' ? 'json' : undefined, trunc);
}

/** What the nodes say of the containers of tasks; of those on a node that cannot be reached nothing is known. */
export async function summariesOf(
  node: NodeClient,
  tasks: readonly Task[],
): Promise<ReadonlyMap<string, ContainerSummary>> {
  const taskIds = tasks.filter(({ status }) => status.containerId !== '').map(({ id }) => id);
  if (taskIds.length === 0) return new Map();
  const { containers } = await node.tasks.containers({ taskIds });
  return new Map(containers.map((summary) => [summary.taskId, summary]));
}

/** A task with its service, and what the node says of its container. */
export interface Container {
  readonly service: Service;
  readonly task: Task;
  readonly summary: ContainerSummary | undefined;
}

/** The container that each slot is about now, and those of `run`, by name. */
export function containersOf(
  services: readonly Service[],
  tasks: readonly Task[],
  known: ReadonlyMap<string, ContainerSummary> = new Map(),
): readonly Container[] {
  const view = new ProjectView();
  for (const service of services) view.services.set(service.id, service);
  for (const task of tasks) view.tasks.set(task.id, task);
  const containers = services.flatMap((service) => {
    const oneOffs = view.tasksOf(service).filter((task) => task.oneOff);
    return [...view.currentTasks(service).values(), ...oneOffs].map((task) => ({
      service,
      task,
      summary: known.get(task.id),
    }));
  });
  return containers
    .filter(({ task }) => task.status.state !== 'remove')
    .sort((a, b) => a.task.name.localeCompare(b.task.name, 'en', { numeric: true }));
}

/** @param now wall time, ms */
export function renderContainers(containers: readonly Container[], now: number, trunc: boolean): string {
  return renderTable(
    ['NAME', 'IMAGE', 'COMMAND', 'SERVICE', 'CREATED', 'STATUS', 'PORTS'],
    containers.map(({ service, task, summary }) => [
      task.name,
      task.spec.container.image,
      commandOf(task, summary, trunc),
      service.spec.composeName,
      `${durationWords(now - (summary?.createdAt ?? task.meta.createdAt))} ago`,
      describeState(task, now, summary),
      portsOf(service, task),
    ]),
  );
}

/** What is executed, as far as it is known: before there is a container, what the compose file says. */
function commandOf({ spec }: Task, summary: ContainerSummary | undefined, trunc: boolean): string {
  const words = summary?.argv ?? [...(spec.container.entrypoint?.args ?? []), ...(spec.container.command?.args ?? [])];
  if (words.length === 0) return '';
  return `"${trunc ? cutTo(words.join(' '), COMMAND_COLUMNS - 2) : words.join(' ')}"`;
}

/** Which version of the spec it shall have and has, and how it came by it. */
const appliedOf = ({ specVersion, status: { applied, refused } }: Task): object => ({
  Wanted: specVersion,
  Applied: applied?.specVersion ?? 0,
  How: applied?.how ?? '',
  Reason: applied?.reason ?? '',
  ...(refused === undefined ? {} : { Refused: refused.reason }),
});

/** The keys that scripts around `docker compose ps --format json` read. */
function toJson({ service, task, summary }: Container): object {
  const labels = task.spec.container.labels;
  return {
    ID: task.status.containerId,
    Name: task.name,
    Image: task.spec.container.image,
    Command: commandOf(task, summary, false),
    Project: service.projectName,
    Service: service.spec.composeName,
    Created: Math.floor((summary?.createdAt ?? task.meta.createdAt) / 1000),
    State: stateWord(task),
    Status: describeState(task, Date.now(), summary),
    Health: task.status.health === 'none' ? '' : task.status.health,
    ExitCode: task.status.exitCode ?? 0,
    Error: task.status.error,
    Publishers: publishersOf(service, task),
    Spec: appliedOf(task),
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
  };
}
