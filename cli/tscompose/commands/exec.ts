import { TsswarmError } from '../../../base/errors.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { readIndex } from '../containers/choose.ts';
import { environmentWords } from '../containers/environment.ts';
import { ProjectView } from '../project/view.ts';
import { demandService, readExisting } from '../project/existing.ts';
import { runSession, terminalSize } from '../session/process.ts';
import type { Task } from '../../../proto/types/index.ts';

export interface ExecOptions {
  readonly detach?: boolean;
  readonly env?: readonly string[];
  /** false with -T. */
  readonly tty?: boolean;
  /** false with --no-interactive. */
  readonly interactive?: boolean;
  readonly user?: string;
  readonly workdir?: string;
  readonly index?: string;
  readonly privileged?: boolean;
}

/** Executes a command in a running container of a service; ends with its exit code. */
export async function exec(
  context: Context,
  serviceName: string,
  argv: readonly string[],
  options: ExecOptions,
): Promise<void> {
  const project = await context.projectName();
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, project, []);
    const service = demandService(existing.services, serviceName, project);
    const view = new ProjectView();
    for (const task of existing.tasks) view.tasks.set(task.id, task);
    const task = chooseTask([...view.currentTasks(service).values()], serviceName, options.index);
    const interactive = options.interactive !== false && options.detach !== true;
    const tty = options.tty !== false && interactive && process.stdin.isTTY;
    const code = await runSession({
      call: node.tasks.exec(),
      first: {
        exec: {
          taskId: task.id,
          argv,
          env: environmentWords(options.env ?? [], process.env),
          user: options.user ?? '',
          workingDir: options.workdir ?? '',
          tty,
          stdin: interactive,
          privileged: options.privileged === true,
          detach: options.detach === true,
          ...(tty ? { size: terminalSize() } : {}),
        },
      },
      tty,
      interactive,
    });
    if (code !== 0) throw new ExitCode(code);
  } finally {
    node.close();
  }
}

/** The running container with that number; without one the first that runs. @throws CONTAINER_NOT_RUNNING, INVALID_INPUT */
export function chooseTask(
  tasks: readonly Task[],
  service: string,
  index: string | undefined,
  action = 'executing in',
): Task {
  const slot = readIndex(index);
  const candidates = slot === undefined ? tasks : tasks.filter((task) => task.slot === slot);
  const running = candidates.find(({ status }) => status.state === 'running');
  if (running !== undefined) return running;
  const which = index === undefined ? `service "${service}"` : `container ${index} of service "${service}"`;
  throw new TsswarmError('CONTAINER_NOT_RUNNING', `${action} ${which}: it is not running`, {
    hint: 'see "tscompose ps -a"',
  });
}
