import { demandService, readExisting } from '../project/existing.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { ProjectView } from '../project/view.ts';
import { readDetachKeys } from '../session/detach-keys.ts';
import { runSession, terminalSize } from '../session/process.ts';
import { chooseTask } from './exec.ts';

export interface AttachOptions {
  readonly detachKeys?: string;
  readonly index?: string;
  /** false with --no-stdin. */
  readonly stdin: boolean;
  readonly sigProxy?: string | boolean;
}

/** Connects this terminal to the main process of a service's container; ends with its exit code, or when it is detached. */
export async function attach(context: Context, serviceName: string, options: AttachOptions): Promise<void> {
  const detachKeys = readDetachKeys(options.detachKeys ?? 'ctrl-p,ctrl-q');
  const project = await context.projectName();
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, project, []);
    const service = demandService(existing.services, serviceName, project);
    const view = new ProjectView();
    for (const task of existing.tasks) view.tasks.set(task.id, task);
    const task = chooseTask([...view.currentTasks(service).values()], serviceName, options.index, 'attaching to');
    const { tty, openStdin } = task.spec.container;
    const interactive = options.stdin && openStdin;
    const hasTerminal = tty && process.stdin.isTTY;
    const code = await runSession({
      call: node.tasks.attach(),
      first: { attach: { taskId: task.id, replay: false, ...(hasTerminal ? { size: terminalSize() } : {}) } },
      tty: hasTerminal,
      interactive,
      detachKeys,
      keepStdinOpen: true,
      forwardsSignals: options.sigProxy !== false && options.sigProxy !== 'false',
    });
    if (code !== 0) throw new ExitCode(code);
  } finally {
    node.close();
  }
}
