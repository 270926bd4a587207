import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { parseDurationMs } from '../../../compose/normalise/units.ts';
import type { LogEntry, Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { LogLines } from '../../render/index.ts';
import { plainStyle } from '../../render/style.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { followLogs } from '../logs/follow.ts';
import { mergeByTime } from '../logs/merge.ts';
import { sourceOf } from '../logs/source.ts';
import { demandService } from '../project/existing.ts';
import { watchProject } from '../project/watch.ts';

export interface LogsOptions {
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
  readonly color: boolean;
  readonly logPrefix: boolean;
  readonly index?: string;
}

/** Shows the output of containers. */
export async function logs(context: Context, names: readonly string[], options: LogsOptions): Promise<void> {
  const query = {
    tail: readTail(options.tail),
    since: readTime(options.since, '--since', Date.now()),
    until: readTime(options.until, '--until', Date.now()),
  };
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  try {
    const { view } = watch;
    const services = [...view.services.values()];
    for (const name of names) demandService(services, name, project);
    const isChosen = (task: Task): boolean =>
      (names.length === 0 || names.includes(sourceOf(task).service)) &&
      (options.index === undefined || String(task.slot) === options.index);
    const tasks = services
      .flatMap((service) => [
        ...view.currentTasks(service).values(),
        ...view.tasksOf(service).filter((task) => task.oneOff),
      ])
      .filter(isChosen);
    const lines = new LogLines({
      style: options.color ? context.terminal.outStyle : plainStyle,
      withPrefix: options.logPrefix,
      withTime: options.timestamps === true,
      sources: tasks.map(sourceOf),
    });
    const { out, err } = context.terminal;
    const write = (stream: 'stdout' | 'stderr', text: string): void => {
      if (text !== '') (stream === 'stdout' ? out : err)(text);
    };
    if (options.follow !== true) return await showOnce(node, tasks, query, lines, write, context.warn);
    const interrupts = watchInterrupts();
    try {
      followLogs({
        tasks: node.tasks,
        watch,
        lines,
        write,
        warn: context.warn,
        wanted: (task) => isChosen(task) && (tasks.some(({ id }) => id === task.id) || isNewer(task, tasks)),
        history: (task) =>
          tasks.some(({ id }) => id === task.id)
            ? { tail: query.tail, since: query.since }
            : { tail: -1, since: query.since },
        tellExits: true,
        signal: interrupts.first,
      });
      await watch
        .until(() => undefined, interrupts.first)
        .catch((error: unknown) => {
          throw interrupts.first.aborted ? new ExitCode(130) : error;
        });
    } finally {
      interrupts.close();
    }
  } finally {
    watch.close();
    node.close();
  }
}

/** Containers that came after the command was started are followed, too; the history of older ones is not dug up. */
const isNewer = (task: Task, tasks: readonly Task[]): boolean =>
  tasks.every(({ meta }) => task.meta.createdAt >= meta.createdAt);

async function showOnce(
  node: NodeClient,
  tasks: readonly Task[],
  query: { readonly tail: number; readonly since: number; readonly until: number },
  lines: LogLines,
  write: (stream: 'stdout' | 'stderr', text: string) => void,
  warn: (message: string) => void,
): Promise<void> {
  const missed = new Set<string>();
  const miss = (task: Task, reason: string): void => {
    missed.add(task.name);
    warn(`the log of ${task.name}: ${reason}`);
  };
  const withLog = tasks.filter(({ status }) => status.containerId !== '' && status.state !== 'remove');
  const streams = withLog.map((task) =>
    label(node.tasks.logs({ taskId: task.id, follow: false, ...query }), task, miss),
  );
  for await (const { entry, task } of mergeByTime(streams, (one) => one.entry.time)) {
    write(entry.stream, lines.take(sourceOf(task), entry.stream, entry.time, entry.data));
  }
  for (const task of withLog) write('stdout', lines.finish(sourceOf(task)));
  if (missed.size === 0) return;
  throw new TsswarmError('NODE_UNREACHABLE', `showing logs: not all are there, without ${[...missed].join(', ')}`, {
    hint: 'see "tsswarm node ls"',
  });
}

async function* label(
  entries: AsyncIterable<LogEntry>,
  task: Task,
  miss: (task: Task, reason: string) => void,
): AsyncIterable<{ readonly entry: LogEntry; readonly task: Task }> {
  try {
    for await (const entry of entries) yield { entry, task };
  } catch (error) {
    // The others are shown all the same.
    if (isTsswarmError(error, 'NODE_UNREACHABLE')) miss(task, error.message);
    // Removed meanwhile: what it said is gone with it.
    else if (!isTsswarmError(error, 'NOT_FOUND')) throw error;
  }
}

/** "all" or a number. @throws INVALID_INPUT */
function readTail(text: string): number {
  if (text === 'all') return -1;
  if (/^\d+$/.test(text)) return Number(text);
  throw new TsswarmError('INVALID_INPUT', `using --tail "${text}": expected a number or "all"`);
}

/**
 * A time in ms since the epoch from an RFC 3339 time, seconds since the epoch, or a span before now ("10m"); 0 for none.
 * @throws INVALID_INPUT
 */
export function readTime(text: string | undefined, flag: string, now: number): number {
  if (text === undefined) return 0;
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000);
  const span = parseDurationMs(text);
  if (span !== undefined) return Math.round(now - span);
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return at;
  throw new TsswarmError(
    'INVALID_INPUT',
    `using ${flag} "${text}": expected a time (2026-01-31T12:00:00Z), a span ("10m") or seconds since the epoch`,
  );
}
