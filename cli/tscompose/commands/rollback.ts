import { TsswarmError } from '../../../base/errors.ts';
import { authorOf } from '../../local-node/author.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { changeLines } from '../history/changes.ts';
import { failUp, showUp } from '../project/progress.ts';
import { watchProject } from '../project/watch.ts';
import { specsOf } from './history.ts';
import { planOf } from './up.ts';

export interface RollbackOptions {
  readonly detach?: boolean;
  readonly dryRun?: boolean;
}

/** Makes a project what it was at an earlier revision: the one before the newest, or the one that is named. */
export async function rollback(
  context: Context,
  asked: string | undefined,
  { detach, dryRun = false }: RollbackOptions,
): Promise<void> {
  if (asked !== undefined && !/^[1-9]\d{0,14}$/.test(asked))
    throw new TsswarmError('INVALID_INPUT', `rolling back to revision "${asked}": expected a number`);
  const number = Number(asked ?? 0);
  const project = await context.projectName();
  const node = await context.openNode();
  const watch = await watchProject(node.control, project);
  const interrupts = watchInterrupts();
  try {
    const { view } = watch;
    const before = new Map(view.tasks);
    const updatesBefore = new Map(
      [...view.services.values()].flatMap(({ id, updateStatus }) =>
        updateStatus === undefined ? [] : [[id as string, updateStatus] as const],
      ),
    );
    const present = new Map([...view.services.values()].map(({ spec }) => [spec.composeName, spec]));
    const { revisions } = await node.control.listRevisions({ project, serviceId: '' });
    const target = number === 0 ? revisions[1] : revisions.find((one) => one.number === number);
    const author = authorOf(`${context.command ?? 'tscompose rollback'} ${target?.number ?? number}`);
    const revision = target?.number ?? number;
    const answer = await node.control.rollbackProject({ project, revision, dryRun, author });
    const { out, err, outStyle } = context.terminal;
    if (dryRun) {
      const lines = changeLines(answer.changes, present, specsOf(target), outStyle);
      out(lines.length === 0 ? `nothing would change\n` : lines.map((line) => `${line}\n`).join(''));
      return;
    }
    err(`Project ${project} goes back to revision ${target?.number ?? number}\n`);
    if (detach === true) return;
    const services = answer.changes
      .filter(({ kind, action }) => kind === 'service' && action !== 'remove')
      .map(({ name }) => name);
    const plan = { ...planOf(services, 'started', answer, before), updatesBefore, rollback: true };
    const failures = await showUp(context, watch, plan, interrupts.first);
    if (failures.length > 0) failUp(context, failures);
  } catch (error) {
    throw interrupts.first.aborted && !(error instanceof ExitCode) ? new ExitCode(130) : error;
  } finally {
    interrupts.close();
    watch.close();
    node.close();
  }
}
