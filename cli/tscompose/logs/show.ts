import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { parseDurationMs } from '../../../compose/normalise/units.ts';
import type { LogEntry, Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { LogLines } from '../../render/index.ts';
import type { LogSource } from '../../render/index.ts';
import type { Style } from '../../render/style.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { followLogs } from './follow.ts';
import { mergeByTime } from './merge.ts';

/** What of each log is wanted. */
export interface LogRange {
  /** Last lines of each task; -1: all. */
  readonly tail: number;
  /** ms since the epoch; 0: no bound. */
  readonly since: number;
  readonly until: number;
}

export interface ShowLogsOptions {
  readonly tasks: NodeClient['tasks'];
  /** Of one project, or of all (the empty name). */
  readonly watch: ProjectWatch;
  /** Whose logs are shown now. While following, tasks that come later are shown when `isChosen` wants them. */
  readonly shown: readonly Task[];
  readonly isChosen: (task: Task) => boolean;
  /** What stands before a line, and what shares a colour. */
  readonly sourceOf: (task: Task) => LogSource;
  readonly range: LogRange;
  readonly follow: boolean;
  readonly style: Style;
  readonly withPrefix: boolean;
  readonly withTime: boolean;
  readonly write: (stream: 'stdout' | 'stderr', text: string) => void;
  readonly warn: (message: string) => void;
  /** Ends following; it then resolves. */
  readonly signal: AbortSignal;
}

/**
 * Shows the logs of tasks, whichever nodes they are on: what there is in the order of time, then, with `follow`, what comes, also
 * from tasks that replace these and from new ones.
 * @throws NODE_UNREACHABLE at the end, naming whose logs could not be had; those of the others were shown
 */
export async function showLogs(options: ShowLogsOptions): Promise<void> {
  const { tasks, watch, shown, sourceOf, range, write, signal } = options;
  const lines = new LogLines({ ...options, sources: shown.map(sourceOf) });
  const said = (stream: 'stdout' | 'stderr', text: string): void => {
    if (text !== '') write(stream, text);
  };
  const last = new Map<string, string>();
  const missed = await showHistory(options, lines, said, last);
  if (!options.follow) {
    for (const task of shown) said('stdout', lines.finish(sourceOf(task)));
    if (missed.length === 0) return;
    throw new TsswarmError('NODE_UNREACHABLE', `showing logs: not all are there, without ${missed.join(', ')}`, {
      hint: 'see "tsswarm node ls"',
    });
  }
  const isOld = (task: Task): boolean => shown.some(({ id }) => id === task.id);
  // Tasks that came after the command was started are followed, too; the history of older ones is not dug up.
  const isNewer = (task: Task): boolean => shown.every(({ meta }) => task.meta.createdAt >= meta.createdAt);
  followLogs({
    tasks,
    watch,
    lines,
    sourceOf,
    write: said,
    warn: options.warn,
    wanted: (task) => options.isChosen(task) && (isOld(task) || isNewer(task)),
    history: (task) =>
      range.tail === 0 && isOld(task) ? { tail: 0, since: range.since } : { tail: -1, since: range.since },
    shownBefore: last,
    tellExits: true,
    signal,
  });
  await watch
    .until(() => undefined, signal)
    .catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
}

/** @returns the names of tasks whose logs could not be had */
async function showHistory(
  { tasks, shown, sourceOf, range, warn, follow, signal }: ShowLogsOptions,
  lines: LogLines,
  write: (stream: 'stdout' | 'stderr', text: string) => void,
  last: Map<string, string>,
): Promise<readonly string[]> {
  const missed = new Set<string>();
  const miss = (task: Task, reason: string): void => {
    missed.add(sourceOf(task).name);
    // While following, the follower says so, and goes on trying.
    if (!follow) warn(`the log of ${sourceOf(task).name}: ${reason}`);
  };
  // With a tail of none there is nothing but what comes.
  const withLog = range.tail === 0 ? [] : shown.filter(hasLog);
  const streams = withLog.map((task) =>
    label(tasks.logs({ taskId: task.id, follow: false, ...range }, signal), task, miss),
  );
  try {
    for await (const { entry, task } of mergeByTime(streams, (one) => one.entry.time)) {
      last.set(task.name, entry.time);
      write(entry.stream, lines.take(sourceOf(task), entry.stream, entry.time, entry.data));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return [...missed];
}

const hasLog = ({ status }: Task): boolean => status.containerId !== '' && status.state !== 'remove';

async function* label(
  entries: AsyncIterable<LogEntry>,
  task: Task,
  miss: (task: Task, reason: string) => void,
): AsyncIterable<{ readonly entry: LogEntry; readonly task: Task }> {
  try {
    for await (const entry of entries) yield { entry, task };
  } catch (error) {
    // The others are shown all the same.
    if (isTsswarmError(error, 'NODE_UNREACHABLE') || isTsswarmError(error, 'UNAVAILABLE')) miss(task, error.message);
    // Removed meanwhile: what it said is gone with it.
    else if (!isTsswarmError(error, 'NOT_FOUND')) throw error;
  }
}

/** "all" or a number. @throws INVALID_INPUT */
export function readTail(text: string): number {
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
