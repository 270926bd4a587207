import type { Context } from '../context.ts';
import { tasksToTakeDown } from '../progress/down.ts';
import type { UpPlan } from '../progress/up.ts';
import { demandService } from '../project/existing.ts';
import { showDown, showUp, failUp } from '../project/progress.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { watchProject } from '../project/watch.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import { TsswarmError } from '../../../base/errors.ts';
import { seconds } from './up.ts';

export interface StopOptions {
  readonly timeout?: string;
}

/** Stops services; their containers stay. */
export function stop(context: Context, names: readonly string[], options: StopOptions): Promise<void> {
  return stopWithin(context, names, graceOf(options), 'Stopping');
}

/** Kills services at once. */
export function kill(context: Context, names: readonly string[]): Promise<void> {
  return stopWithin(context, names, 0, 'Killing');
}

/** Starts stopped services. */
export async function start(context: Context, names: readonly string[]): Promise<void> {
  await withProject(context, names, async (node, watch, project) => {
    const before = new Map(watch.view.tasks);
    const { services } = await node.control.startServices({ project, services: names, graceOverrideMs: -1 });
    await untilUp(context, watch, {
      services,
      goal: 'started',
      changes: [],
      before,
      caughtUp: (view) => services.every((name) => view.service(name)?.stopped === false),
    });
  });
}

/** Stops and starts services again, the same containers. */
export async function restart(context: Context, names: readonly string[], options: StopOptions): Promise<void> {
  const graceOverrideMs = graceOf(options);
  await withProject(context, names, async (node, watch, project) => {
    const before = new Map(watch.view.tasks);
    const counts = new Map([...watch.view.services.values()].map(({ id, restartCount }) => [id, restartCount]));
    const { services } = await node.control.restartServices({ project, services: names, graceOverrideMs });
    await untilUp(context, watch, {
      services,
      goal: 'started',
      changes: [],
      before,
      caughtUp: (view) =>
        services.every((name) => {
          const service = view.service(name);
          return service !== undefined && service.restartCount > (counts.get(service.id) ?? -1);
        }),
    });
  });
}

async function stopWithin(
  context: Context,
  names: readonly string[],
  graceOverrideMs: number,
  title: string,
): Promise<void> {
  await withProject(context, names, async (node, watch, project) => {
    const chosen = names.length === 0 ? undefined : new Set(names);
    const tasks = tasksToTakeDown(watch.view, chosen, true);
    await node.control.stopServices({ project, services: names, graceOverrideMs });
    await showDown(context, watch, { tasks, networks: [], volumes: [], keeps: true }, title);
  });
}

async function withProject(
  context: Context,
  names: readonly string[],
  work: (node: NodeClient, watch: ProjectWatch, project: string) => Promise<void>,
): Promise<void> {
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  try {
    const services = [...watch.view.services.values()];
    for (const name of names) demandService(services, name, project);
    if (services.length === 0) {
      throw new TsswarmError('NOT_FOUND', `finding project "${project}": nothing of it is there`, {
        hint: 'bring it up with "tscompose up -d"',
      });
    }
    await work(node, watch, project);
  } finally {
    watch.close();
    node.close();
  }
}

async function untilUp(context: Context, watch: ProjectWatch, plan: UpPlan): Promise<void> {
  const interrupts = watchInterrupts();
  try {
    const failures = await showUp(context, watch, plan, interrupts.first);
    if (failures.length > 0) failUp(context, failures);
  } catch (error) {
    throw interrupts.first.aborted ? new ExitCode(130) : error;
  } finally {
    interrupts.close();
  }
}

const graceOf = ({ timeout }: StopOptions): number =>
  timeout === undefined ? -1 : seconds(timeout, '--timeout') * 1000;
