import { isTsswarmError } from '../../../base/errors.ts';
import type { Task } from '../../../proto/types/index.ts';
import { renderList } from '../../render/format.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import type { Context } from '../context.ts';
import { demandService } from '../project/existing.ts';
import { watchProject } from '../project/watch.ts';
import type { Samples } from '../usage/row.ts';
import { COLUMNS, usageRow } from '../usage/row.ts';
import { containersOf } from './ps.ts';

export interface StatsOptions {
  readonly all?: boolean;
  readonly format?: string;
  /** false with --no-stream. */
  readonly stream: boolean;
  readonly trunc: boolean;
}

const INTERVAL_MS = 1_000;
/** Between the two samples that a single look takes. */
const LOOK_MS = 500;
const RETRY_MS = 1_000;
const CLEAR = '\u001b[2J\u001b[H';

/** Shows what containers use, whichever nodes they are on: once, or every second until the user has seen enough. */
export async function stats(context: Context, name: string | undefined, options: StatsOptions): Promise<void> {
  const { terminal } = context;
  const project = await context.projectName();
  // Refused before anything is asked.
  renderList(options.format, COLUMNS, []);
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  const interrupts = watchInterrupts();
  const life = new AbortController();
  const signal = AbortSignal.any([interrupts.first, life.signal]);
  const samples = new Map<string, Samples>();
  const followed = new Set<string>();
  const warned = new Set<string>();
  try {
    const services = [...watch.view.services.values()];
    if (name !== undefined) demandService(services, name, project);
    const shown = (): readonly Task[] =>
      containersOf([...watch.view.services.values()], [...watch.view.tasks.values()])
        .filter(({ service }) => name === undefined || service.spec.composeName === name)
        .map(({ task }) => task)
        .filter(({ status }) => status.containerId !== '' && (options.all === true || status.state === 'running'));
    const miss = (task: Task, error: unknown): void => {
      if (signal.aborted || isTsswarmError(error, 'NOT_FOUND') || isTsswarmError(error, 'CONTAINER_NOT_RUNNING'))
        return;
      if (!isTsswarmError(error, 'NODE_UNREACHABLE') && !isTsswarmError(error, 'UNAVAILABLE')) throw error;
      samples.set(task.id, { before: undefined, now: undefined });
      if (!warned.has(task.id)) context.warn(error.message);
      warned.add(task.id);
    };
    const render = (): string =>
      renderList(
        options.format,
        COLUMNS,
        shown().map((task) =>
          usageRow(task, samples.get(task.id) ?? { before: undefined, now: undefined }, options.trunc),
        ),
      );
    const follow = async (task: Task, intervalMs: number, count: number): Promise<void> => {
      try {
        let left = count;
        for await (const now of node.tasks.stats({ taskId: task.id, intervalMs }, signal)) {
          samples.set(task.id, { before: samples.get(task.id)?.now, now });
          if (--left === 0) return;
        }
      } catch (error) {
        miss(task, error);
      }
    };
    const running = (): readonly Task[] => shown().filter(({ status }) => status.state === 'running');
    if (!options.stream) {
      await Promise.all(running().map((task) => follow(task, LOOK_MS, 2)));
      terminal.out(render());
      return;
    }
    const redraws = process.stdout.isTTY === true;
    while (!signal.aborted) {
      for (const task of running()) {
        if (followed.has(task.id)) continue;
        followed.add(task.id);
        void follow(task, INTERVAL_MS, Infinity).then(
          // Ended, moved or cut off: looked for again while it is to be shown.
          () => setTimeout(() => followed.delete(task.id), RETRY_MS),
          (error: unknown) => life.abort(error),
        );
      }
      await pause(samples.size === 0 ? LOOK_MS / 2 : INTERVAL_MS, signal);
      if (!signal.aborted) terminal.out((redraws ? CLEAR : '') + render());
    }
    if (life.signal.aborted) throw life.signal.reason;
  } finally {
    life.abort(new Error('over'));
    interrupts.close();
    watch.close();
    node.close();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
