import { messageOf } from '../../../base/errors.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import { willRestart } from '../../../manager/model/restart.ts';
import type { Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { LogLines } from '../../render/index.ts';
import { plainStyle } from '../../render/style.ts';
import type { Interrupts } from '../../terminal/interrupts.ts';
import type { Context } from '../context.ts';
import { followLogs } from '../logs/follow.ts';
import { sourceOf } from '../logs/source.ts';
import { judgeDown, tasksToTakeDown } from '../progress/down.ts';
import type { ProjectView } from '../project/view.ts';
import { failUp } from '../project/progress.ts';
import type { ProjectWatch } from '../project/watch.ts';

export interface AttachOptions {
  readonly project: string;
  /** Brought up, and stopped at the end. */
  readonly services: readonly string[];
  /** Whose output is shown. */
  readonly shown: ReadonlySet<string>;
  /** Tasks that ran before `up`: only their new output is shown. */
  readonly before: ReadonlyMap<string, Task>;
  /** Wall time at which `up` began, ms. */
  readonly beforeAt: number;
  readonly interrupts: Interrupts;
  /** -1: the spec's. */
  readonly graceMs: number;
  readonly color: boolean;
  readonly logPrefix: boolean;
  readonly timestamps: boolean;
  /** Stop everything when a container ends: never, always, only when it failed. */
  readonly abortOn: 'never' | 'exit' | 'failure';
  /** Its exit code is the command's. */
  readonly exitCodeFrom?: string;
}

/**
 * Shows the output of a project until all its containers have ended or the user interrupts: the first interruption stops
 * them, the second kills them.
 * @returns the command's exit code
 * @throws when a container cannot be started
 */
export async function attach(
  context: Context,
  node: NodeClient,
  watch: ProjectWatch,
  options: AttachOptions,
): Promise<number> {
  const { terminal } = context;
  const { interrupts } = options;
  const sources = currentTasks(watch.view, options.services)
    .filter((task) => options.shown.has(sourceOf(task).service))
    .map(sourceOf);
  if (sources.length > 0) terminal.err(`Attaching to ${sources.map(({ name }) => name).join(', ')}\n`);
  const lines = new LogLines({
    style: options.color ? terminal.outStyle : plainStyle,
    withPrefix: options.logPrefix,
    withTime: options.timestamps,
    sources,
  });
  const names = new Set([...options.before.values()].map(({ name }) => name));
  let interject: (write: () => void) => void = (write) => write();
  const end = new AbortController();
  const follower = followLogs({
    tasks: node.tasks,
    watch,
    lines,
    write: (stream, text) => {
      if (text !== '') interject(() => (stream === 'stdout' ? terminal.out(text) : terminal.err(text)));
    },
    warn: context.warn,
    wanted: (task) => !task.oneOff && !hadEnded(options, task) && options.shown.has(sourceOf(task).service),
    // A container that is started again brings its old log along.
    history: (task) => ({ tail: -1, since: names.has(task.name) ? options.beforeAt : 0 }),
    tellExits: true,
    signal: end.signal,
  });
  try {
    const outcome = await watch
      .until((view) => judgeAttached(view, options), interrupts.first)
      .catch((error: unknown) => {
        if (interrupts.first.aborted) return { kind: 'interrupted' } as const;
        throw error;
      });
    if (outcome.kind === 'failed') failUp(context, [outcome.failure]);
    if (outcome.kind === 'aborting') {
      interject(() => terminal.err('Aborting on container exit...\n'));
    } else if (outcome.kind === 'interrupted') {
      interject(() => terminal.err('Gracefully stopping... (press Ctrl+C again to force)\n'));
    }
    if (outcome.kind !== 'ended') {
      await stopAttached(context, node, watch, options, (through) => (interject = through));
    }
    await follower.drained();
    if (outcome.kind === 'interrupted') return 130;
    const from = options.exitCodeFrom;
    if (from !== undefined) return exitCodeOf(watch.view, from);
    return outcome.kind === 'aborting' ? outcome.code : 0;
  } finally {
    end.abort(new Error('detached'));
  }
}

type Outcome =
  | { readonly kind: 'ended' }
  | { readonly kind: 'aborting'; readonly code: number }
  | {
      readonly kind: 'failed';
      readonly failure: { readonly service: string; readonly container: string; readonly reason: string };
    };

/** What an attached project has come to; undefined while it goes on. */
export function judgeAttached(
  view: ProjectView,
  options: Pick<AttachOptions, 'services' | 'before' | 'abortOn'>,
): Outcome | undefined {
  const tasks = currentTasks(view, options.services);
  for (const task of tasks) {
    if (task.status.state === 'rejected' && !hadEnded(options, task)) {
      const { service } = sourceOf(task);
      return { kind: 'failed', failure: { service, container: task.name, reason: task.status.error } };
    }
    if (options.abortOn === 'never' || !isOver(task) || hadEnded(options, task)) continue;
    const code = task.status.exitCode ?? 0;
    if (options.abortOn === 'exit' || code !== 0) return { kind: 'aborting', code };
  }
  // Nothing to show at all (every service scaled to zero, or taken down by another command) is an end, too.
  return tasks.every(isOver) ? { kind: 'ended' } : undefined;
}

/** The task of every slot of these services. */
function currentTasks(view: ProjectView, services: readonly string[]): readonly Task[] {
  return services.flatMap((name) => {
    const service = view.service(name);
    return service === undefined ? [] : [...view.currentTasks(service).values()];
  });
}

/** It was over before this command began, and has not run since. */
function hadEnded({ before }: Pick<AttachOptions, 'before'>, task: Task): boolean {
  const known = before.get(task.id);
  return known !== undefined && isFinal(known) && known.status.restartCount === task.status.restartCount;
}

const isOver = (task: Task): boolean => isFinal(task) && !willRestart(task);

function exitCodeOf(view: ProjectView, service: string): number {
  return currentTasks(view, [service])[0]?.status.exitCode ?? 0;
}

/**
 * Stops the services and shows how they stop; a second interruption kills them.
 * @param through is told how to write while progress is shown, and afterwards
 */
export async function stopAttached(
  context: Context,
  node: NodeClient,
  watch: ProjectWatch,
  options: Pick<AttachOptions, 'interrupts' | 'project' | 'services' | 'graceMs'>,
  through: (interject: (write: () => void) => void) => void = () => undefined,
): Promise<void> {
  const { interrupts, project, services, graceMs } = options;
  const tasks = tasksToTakeDown(watch.view, new Set(services), true);
  const plan = { tasks, networks: [], volumes: [], keeps: true };
  await node.control.stopServices({ project, services, graceOverrideMs: graceMs });
  const kill = (): void => {
    context.terminal.err('Killing...\n');
    node.control.stopServices({ project, services, graceOverrideMs: 0 }).catch((error: unknown) => {
      context.warn(messageOf(error));
    });
  };
  interrupts.second.addEventListener('abort', kill, { once: true });
  if (interrupts.second.aborted) kill();
  const display = context.openDisplay('Stopping');
  through((write) => display.interject(write));
  try {
    await watch.until((view) => {
      const { rows, finished } = judgeDown(view, plan);
      display.update(rows);
      return finished ? true : undefined;
    });
  } finally {
    through((write) => write());
    display.close();
    interrupts.second.removeEventListener('abort', kill);
  }
}
