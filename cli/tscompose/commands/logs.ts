import type { Task } from '../../../proto/types/index.ts';
import { plainStyle } from '../../render/style.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { readTail, readTime, showLogs } from '../logs/show.ts';
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

/** Shows the output of containers, whichever nodes they are on. */
export async function logs(context: Context, names: readonly string[], options: LogsOptions): Promise<void> {
  const range = {
    tail: readTail(options.tail),
    since: readTime(options.since, '--since', Date.now()),
    until: readTime(options.until, '--until', Date.now()),
  };
  const { terminal } = context;
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  const interrupts = watchInterrupts();
  try {
    const { view } = watch;
    const services = [...view.services.values()];
    for (const name of names) demandService(services, name, project);
    const isChosen = (task: Task): boolean =>
      (names.length === 0 || names.includes(sourceOf(task).service)) &&
      (options.index === undefined || String(task.slot) === options.index);
    const shown = services
      .flatMap((service) => [
        ...view.currentTasks(service).values(),
        ...view.tasksOf(service).filter((task) => task.oneOff),
      ])
      .filter(isChosen);
    await showLogs({
      tasks: node.tasks,
      watch,
      shown,
      isChosen,
      sourceOf,
      range,
      follow: options.follow === true,
      style: options.color ? terminal.outStyle : plainStyle,
      withPrefix: options.logPrefix,
      withTime: options.timestamps === true,
      write: (stream, text) => (stream === 'stdout' ? terminal.out(text) : terminal.err(text)),
      warn: context.warn,
      signal: interrupts.first,
    });
    if (interrupts.first.aborted) throw new ExitCode(130);
  } finally {
    interrupts.close();
    watch.close();
    node.close();
  }
}
