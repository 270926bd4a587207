import { isTsswarmError, messageOf } from '../../../base/errors.ts';
import { isFinal, reached } from '../../../manager/model/task-state.ts';
import { willRestart } from '../../../manager/model/restart.ts';
import type { Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { LogLines, LogSource } from '../../render/index.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { sourceOf as composeSource } from './source.ts';

const RETRY_MS = 200;
const UNREACHABLE_RETRY_MS = 2_000;

export interface FollowOptions {
  readonly tasks: NodeClient['tasks'];
  readonly watch: ProjectWatch;
  readonly lines: LogLines;
  /** Writes finished text to where the stream belongs. */
  readonly write: (stream: 'stdout' | 'stderr', text: string) => void;
  readonly warn: (message: string) => void;
  /** Whether a task's output is wanted. */
  readonly wanted: (task: Task) => boolean;
  /** What of a container's log from before it is followed is shown. */
  readonly history: (task: Task) => { readonly tail: number; readonly since: number };
  /** What stands before a line. */
  readonly sourceOf?: (task: Task) => LogSource;
  /** By container name: time of the last piece that was shown already. */
  readonly shownBefore?: ReadonlyMap<string, string>;
  /** Shown when a container has ended: "web-1 exited with code 0". */
  readonly tellExits: boolean;
  readonly signal: AbortSignal;
}

/** Follows the output of all containers of a project, also of those that are restarted, replaced or added. */
export interface LogFollower {
  /** Resolves when what is being followed has ended. */
  drained(): Promise<void>;
}

/** One run of a container: a restart in place is another run of the same task. */
interface Run {
  readonly task: Task;
  readonly key: string;
  ended: boolean;
}

/** Starts following; every change of the view is looked at. */
export function followLogs(options: FollowOptions): LogFollower {
  const { watch, lines, signal, sourceOf = composeSource } = options;
  const runs = new Map<string, Run>();
  /** By container name: time of the last piece that was shown. A restart hands the log on, old lines included. */
  const lastShown = new Map(options.shownBefore);
  const busy = new Set<string>();
  const told = new Set<string>();
  const work = new Set<Promise<void>>();

  const look = (): void => {
    if (signal.aborted) return;
    for (const task of watch.view.tasks.values()) {
      if (!options.wanted(task)) continue;
      const key = runKey(task);
      const run = runs.get(key);
      if (run === undefined && hasOutput(task) && !busy.has(task.name)) {
        busy.add(task.name);
        const next: Run = { task, key, ended: false };
        runs.set(key, next);
        const following = follow(next).finally(() => {
          work.delete(following);
          busy.delete(task.name);
          next.ended = true;
          look();
        });
        work.add(following);
      } else if (run?.ended === true) tellExit(task, key);
    }
  };

  /** Whether the task is there still, and is to run: one that was replaced has no more to say that could be had. */
  const isWanted = ({ id }: Task): boolean => watch.view.tasks.get(id)?.desiredState === 'running';

  const follow = async ({ task }: Run): Promise<void> => {
    const source = sourceOf(task);
    const history = options.history(task);
    let missed = false;
    for (;;) {
      const last = lastShown.get(task.name);
      const query =
        last === undefined
          ? { tail: history.tail, since: history.since }
          : { tail: -1, since: Math.floor(Date.parse(last)) };
      try {
        for await (const entry of options.tasks.logs({ taskId: task.id, follow: true, until: 0, ...query }, signal)) {
          if (last !== undefined && entry.time <= last) continue;
          missed = false;
          lastShown.set(task.name, entry.time);
          options.write(entry.stream, lines.take(source, entry.stream, entry.time, entry.data));
        }
        break;
      } catch (error) {
        if (signal.aborted) break;
        // The node is being restarted, or the way to it goes through another manager now: containers run on, and so does this.
        if (isTsswarmError(error, 'UNAVAILABLE') || isTsswarmError(error, 'CANCELLED')) {
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          continue;
        }
        if (isTsswarmError(error, 'NODE_UNREACHABLE') && isWanted(task)) {
          if (!missed) options.warn(`the log of ${source.name}: ${error.message}`);
          missed = true;
          await new Promise((resolve) => setTimeout(resolve, UNREACHABLE_RETRY_MS));
          continue;
        }
        if (!isTsswarmError(error, 'NOT_FOUND')) options.warn(`the log of ${source.name}: ${messageOf(error)}`);
        break;
      }
    }
    options.write('stdout', lines.finish(source));
  };

  const tellExit = (task: Task, key: string): void => {
    if (!options.tellExits || told.has(key)) return;
    const { exitCode, error } = task.status;
    if (!isFinal(task) || exitCode === undefined) return;
    told.add(key);
    const reason = error === '' || error === 'task: non-zero exit' ? '' : ` (${error})`;
    const again = willRestart(task) && task.desiredState === 'running' ? ' (restarting)' : '';
    options.write('stdout', lines.remark(sourceOf(task), `exited with code ${exitCode}${reason}${again}`));
  };

  watch.onChange(look);
  look();
  return {
    drained: async () => {
      while (work.size > 0) await Promise.all(work);
    },
  };
}

const runKey = (task: Task): string => `${task.id}/${task.status.restartCount}`;

/** The container has run: it may have said something. */
function hasOutput({ status }: Task): boolean {
  if (status.containerId === '' || status.state === 'rejected' || status.state === 'remove') return false;
  return reached(status.state, 'running');
}
