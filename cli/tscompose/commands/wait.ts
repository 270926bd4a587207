import { willRestart } from '../../../manager/model/restart.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import type { Task } from '../../../proto/types/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { demandService } from '../project/existing.ts';
import { watchProject } from '../project/watch.ts';

export interface WaitOptions {
  readonly downProject?: boolean;
}

/** Waits until the containers of services have ended; ends with the exit code of the last, or of the first with --down-project. */
export async function wait(context: Context, names: readonly string[], options: WaitOptions): Promise<void> {
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  const interrupts = watchInterrupts();
  let code = 0;
  try {
    const { view } = watch;
    const services = [...view.services.values()];
    const chosen = names.map((name) => demandService(services, name, project));
    const told = new Set<string>();
    const ended = (task: Task): boolean => isFinal(task) && !willRestart(task);
    await watch
      .until(() => {
        const tasks = chosen.flatMap((service) => [...view.currentTasks(service).values()]);
        const over = tasks.filter(ended);
        for (const task of over) {
          if (told.has(task.id)) continue;
          told.add(task.id);
          code = task.status.exitCode ?? 0;
          context.terminal.out(`container "${task.status.containerId || task.name}" exited with status code ${code}\n`);
        }
        return over.length === tasks.length || (options.downProject === true && over.length > 0) ? true : undefined;
      }, interrupts.first)
      .catch((error: unknown) => {
        throw interrupts.first.aborted ? new ExitCode(130) : error;
      });
  } finally {
    interrupts.close();
    watch.close();
    node.close();
  }
  if (options.downProject === true) await (await import('./down.ts')).down(context, [], {});
  if (code !== 0) throw new ExitCode(code);
}
