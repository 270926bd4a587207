import type { Task } from '../../../proto/types/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { eventJson, eventLine, eventsBetween, eventsOf } from '../events/derive.ts';
import type { ContainerEvent } from '../events/derive.ts';
import { readTime } from '../logs/show.ts';
import { sourceOf } from '../logs/source.ts';
import { demandService } from '../project/existing.ts';
import { watchProject } from '../project/watch.ts';
import { summariesOf } from './ps.ts';

export interface EventsOptions {
  readonly json?: boolean;
  readonly since?: string;
  readonly until?: string;
}

/** Tells what happens to the containers of a project, whichever nodes they are on, until the user has heard enough. */
export async function events(context: Context, names: readonly string[], options: EventsOptions): Promise<void> {
  const since = readTime(options.since, '--since', Date.now());
  const until = readTime(options.until, '--until', Date.now());
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  const interrupts = watchInterrupts();
  let timer: NodeJS.Timeout | undefined;
  try {
    const { view } = watch;
    for (const name of names) demandService([...view.services.values()], name, project);
    const isChosen = (task: Task): boolean => names.length === 0 || names.includes(sourceOf(task).service);
    const tell = (found: readonly ContainerEvent[]): void => {
      for (const event of found) context.terminal.out((options.json === true ? eventJson : eventLine)(event));
    };
    let seen = new Map(view.tasks);
    if (since !== 0) {
      const summaries = await summariesOf(node, [...seen.values()].filter(isChosen));
      const past = [...seen.values()].flatMap((task) => {
        const summary = summaries.get(task.id);
        return summary === undefined ? [] : eventsOf(task, summary);
      });
      tell(past.filter(({ at }) => at >= since && (until === 0 || at <= until)).sort((a, b) => a.at - b.at));
    }
    const over = new AbortController();
    if (until !== 0) timer = setTimeout(() => over.abort(), Math.max(0, until - Date.now()));
    const look = (): void => {
      const now = new Map(view.tasks);
      const ids = new Set([...seen.keys(), ...now.keys()]);
      const found = [...ids].flatMap((id) => {
        const [before, after] = [seen.get(id), now.get(id)];
        const task = after ?? before;
        return before === after || task === undefined || !isChosen(task)
          ? []
          : eventsBetween(before, after, Date.now());
      });
      seen = now;
      tell(found.sort((a, b) => a.at - b.at));
    };
    watch.onChange(look);
    look();
    await watch
      .until(() => undefined, AbortSignal.any([interrupts.first, over.signal]))
      .catch((error: unknown) => {
        if (interrupts.first.aborted) throw new ExitCode(130);
        if (!over.signal.aborted) throw error;
      });
  } finally {
    clearTimeout(timer);
    interrupts.close();
    watch.close();
    node.close();
  }
}
