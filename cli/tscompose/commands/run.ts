import { TsswarmError } from '../../../base/errors.ts';
import { isFinal, reached } from '../../../manager/model/task-state.ts';
import { splitWords } from '../../../compose/index.ts';
import type { ComposeProject } from '../../../compose/index.ts';
import type { ApplyProjectRequest, PublishedPort, Task } from '../../../proto/types/index.ts';
import { authorOf } from '../../local-node/author.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import { parsePort, runSpec } from '../containers/run-spec.ts';
import type { RunOverrides } from '../containers/run-spec.ts';
import { environmentWords } from '../containers/environment.ts';
import type { Context } from '../context.ts';
import { desiredProject, selectServices, withoutDependencies } from '../project/desired.ts';
import { provideImages } from '../project/images.ts';
import { showUp, failUp } from '../project/progress.ts';
import { watchProject } from '../project/watch.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { runSession, terminalSize } from '../session/process.ts';

export interface RunOptions {
  readonly rm?: boolean;
  readonly detach?: boolean;
  readonly env?: readonly string[];
  readonly entrypoint?: string;
  /** false with -T. */
  readonly tty?: boolean;
  /** false with --no-interactive. */
  readonly interactive?: boolean;
  readonly name?: string;
  /** false with --no-deps. */
  readonly deps: boolean;
  readonly publish?: readonly string[];
  readonly servicePorts?: boolean;
  readonly user?: string;
  readonly volume?: readonly string[];
  readonly workdir?: string;
  readonly build?: boolean;
  readonly pull?: string;
  readonly label?: readonly string[];
  readonly removeOrphans?: boolean;
  readonly yes?: boolean;
}

/** Runs a one-off container of a service; ends with its exit code. */
export async function run(
  context: Context,
  serviceName: string,
  argv: readonly string[],
  options: RunOptions,
): Promise<void> {
  context.expectNode();
  const project = await context.loadProject([serviceName]);
  const services = selectServices(project, [serviceName], options.deps);
  const ports = (options.publish ?? []).map(parsePort);
  const { desired, builds } = await desiredProject(context, project);
  const service = desired.services.find(({ composeName }) => composeName === serviceName);
  if (service === undefined) throw new TsswarmError('NOT_FOUND', `running service "${serviceName}": no such service`);
  const interactive = options.interactive !== false && options.detach !== true;
  const tty = options.tty !== false && interactive && process.stdin.isTTY;
  const overrides: RunOverrides = {
    argv,
    ...(options.entrypoint === undefined ? {} : { entrypoint: readEntrypoint(options.entrypoint) }),
    env: environmentWords(options.env ?? [], process.env),
    user: options.user,
    workingDir: options.workdir,
    volumes: options.volume ?? [],
    labels: options.label ?? [],
    tty: options.tty !== false && (tty || (options.detach === true && service.task.container.tty)),
    openStdin: interactive,
  };
  const spec = runSpec(service.task, overrides, process.cwd());
  const node = await context.openOrStartNode(options.yes === true);
  const interrupts = watchInterrupts();
  let taskId: string | undefined;
  try {
    const chosenBuilds = builds.filter((build) => services.has(build.service));
    await provideImages(context, node, services, project, chosenBuilds, options);
    const apply: ApplyProjectRequest = {
      project: options.deps ? desired : withoutDependencies(desired, new Set([serviceName])),
      dryRun: false,
      removeOrphans: options.removeOrphans === true,
      forceRecreate: [],
      onlyServices: [serviceName],
      noRecreate: true,
      noStart: true,
      author: authorOf(context.command ?? 'tscompose run'),
    };
    const dependencies = options.deps ? Object.keys(project.services[serviceName]?.depends_on ?? {}) : [];
    if (dependencies.length > 0)
      await startDependencies(context, node, project, serviceName, dependencies, apply, interrupts.first);
    ({ taskId } = await node.control.runTask({
      ...(dependencies.length > 0 ? {} : { apply }),
      project: project.name,
      service: serviceName,
      name: options.name ?? '',
      spec,
      ports: [...(options.servicePorts === true ? service.ports.map(asOwnPort) : []), ...ports],
      autoRemove: options.rm === true && options.detach === true,
    }));
    const started = untilStarted(node, taskId, interrupts.first);
    if (options.detach === true) return context.terminal.out(`${(await started).name}\n`);
    const settled = started.then(() => interrupts.close());
    // A terminal belongs to the process only when there is one; without a terminal nothing is lost by attaching at once.
    if (tty) await settled;
    const code = await runSession({
      call: node.tasks.attach(),
      first: { attach: { taskId, replay: true, wait: true, ...(tty ? { size: terminalSize() } : {}) } },
      tty,
      interactive,
      started: settled,
    });
    if (code !== 0) throw new ExitCode(code);
  } catch (error) {
    throw interrupts.first.aborted ? new ExitCode(130) : error;
  } finally {
    interrupts.close();
    // Removed from here and not by the node, so that what it said last is read before it goes.
    const isOurs = options.detach !== true && (options.rm === true || interrupts.first.aborted);
    if (taskId !== undefined && isOurs) {
      await node.control.stopTask({ taskId, graceOverrideMs: -1, remove: true }).catch(() => undefined);
    }
    node.close();
  }
}

/**
 * Makes the project known, its networks and volumes, and brings up what the service depends on. The service itself is not
 * started, and not changed when it runs.
 */
async function startDependencies(
  context: Context,
  node: NodeClient,
  project: ComposeProject,
  serviceName: string,
  dependencies: readonly string[],
  apply: ApplyProjectRequest,
  signal: AbortSignal,
): Promise<void> {
  const watch = await watchProject(node.control, project.name);
  try {
    const running = watch.view.service(serviceName)?.spec;
    const services = apply.project.services.map((spec) =>
      spec.composeName === serviceName ? (running ?? spec) : spec,
    );
    const wanted = { ...apply, project: { ...apply.project, services } };
    const before = new Map(watch.view.tasks);
    const first = await node.control.applyProject(wanted);
    const answer = await node.control.applyProject({
      ...wanted,
      onlyServices: dependencies,
      noRecreate: false,
      noStart: false,
    });
    const all = selectServices(project, dependencies);
    const failures = await showUp(
      context,
      watch,
      {
        services: [...all.keys()],
        goal: 'started',
        changes: [...first.changes.filter(({ kind }) => kind === 'network' || kind === 'volume'), ...answer.changes],
        before,
        caughtUp: (view) =>
          [...all.keys()].every((name) => view.service(name)?.stopped === false) &&
          conditionsMet(project, serviceName, watch),
      },
      signal,
    );
    if (failures.length > 0) failUp(context, failures);
  } finally {
    watch.close();
  }
}

/** What the service waits for before it starts: the one-off container waits for the same. */
function conditionsMet(project: ComposeProject, serviceName: string, { view }: ProjectWatch): boolean {
  const conditions = Object.entries(project.services[serviceName]?.depends_on ?? {});
  return conditions.every(([name, { condition, required }]) => {
    const service = view.service(name);
    if (service === undefined) return !required;
    const tasks = [...view.currentTasks(service).values()];
    switch (condition) {
      case 'service_started':
        return tasks.every(({ status }) => reached(status.state, 'running'));
      case 'service_healthy':
        return tasks.every(({ status }) => {
          const over = reached(status.state, 'complete');
          if (over || status.health === 'unhealthy') {
            throw new TsswarmError(
              'RUNTIME_FAILED',
              `running service "${serviceName}": its dependency "${name}" is not healthy`,
            );
          }
          return status.state === 'running' && status.health === 'healthy';
        });
      case 'service_completed_successfully':
        return tasks.every((task) => {
          if (isFinal(task) && task.status.state !== 'complete') {
            throw new TsswarmError(
              'RUNTIME_FAILED',
              `running service "${serviceName}": its dependency "${name}" did not complete successfully`,
            );
          }
          return task.status.state === 'complete';
        });
    }
  });
}

/** The task once its process has been started. @throws with the reason when it cannot be */
async function untilStarted(node: NodeClient, taskId: string, signal: AbortSignal): Promise<Task> {
  for await (const { task, gone } of node.control.watchTask({ taskId }, signal)) {
    if (gone || task === undefined) break;
    if (task.status.state === 'rejected') {
      throw new TsswarmError('RUNTIME_FAILED', task.status.error);
    }
    if (reached(task.status.state, 'running')) return task;
  }
  throw new TsswarmError('NOT_FOUND', 'starting the container: it was removed before it started');
}

/** A port that the one-off container publishes for itself alone. */
const asOwnPort = (port: PublishedPort): PublishedPort => ({ ...port, mode: 'host' });

function readEntrypoint(text: string): readonly string[] {
  const words = splitWords(text);
  if (words !== undefined) return words;
  throw new TsswarmError('INVALID_INPUT', `using --entrypoint "${text}": a quote is not closed`);
}
