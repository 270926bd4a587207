import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { judgeDown } from '../progress/down.ts';
import type { DownPlan } from '../progress/down.ts';
import { judgeUp } from '../progress/up.ts';
import type { UpFailure, UpPlan } from '../progress/up.ts';
import type { ProjectWatch } from './watch.ts';

/** After this long with nothing else to wait for, a volume that something still uses is left where it is. */
const VOLUME_PATIENCE_MS = 5000;

/**
 * Shows how a project comes up until it is up or something of it failed.
 * @returns the failures, none when all is up
 * @throws the signal's reason
 */
export async function showUp(
  context: Context,
  watch: ProjectWatch,
  plan: UpPlan,
  signal: AbortSignal,
): Promise<readonly UpFailure[]> {
  const display = context.openDisplay('Running');
  try {
    return await watch.until((view) => {
      const { rows, finished, failures } = judgeUp(view, plan);
      display.update(rows);
      return finished || failures.length > 0 ? failures : undefined;
    }, signal);
  } finally {
    display.close();
  }
}

/** Shows how containers, networks and volumes go, until they are gone. */
export async function showDown(
  context: Context,
  watch: ProjectWatch,
  plan: DownPlan,
  title: string,
  signal?: AbortSignal,
): Promise<void> {
  if (plan.tasks.length + plan.networks.length + plan.volumes.length === 0) return;
  const display = context.openDisplay(title);
  const patience = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  try {
    const ends = signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]);
    await watch.until((view) => {
      const { rows, finished, onlyVolumesLeft } = judgeDown(view, plan);
      display.update(rows);
      if (onlyVolumesLeft) timer ??= setTimeout(() => patience.abort(new Error('in use')), VOLUME_PATIENCE_MS);
      return finished ? true : undefined;
    }, ends);
  } catch (error) {
    if (!patience.signal.aborted || signal?.aborted === true) throw error;
    display.update(
      judgeDown(watch.view, plan).rows.map((row) =>
        row.phase === 'working' ? { ...row, status: 'Still in use', phase: 'warning' } : row,
      ),
    );
    context.warn('some volumes are still used by containers outside the project: they go when those have gone');
  } finally {
    clearTimeout(timer);
    display.close();
  }
}

/** Tells why containers could not be brought up, a line each, and ends the command with 1. */
export function failUp(context: Context, failures: readonly UpFailure[]): never {
  const { err, errStyle } = context.terminal;
  for (const { container, reason } of failures) {
    const what = reason.includes(container) ? reason : `bringing up container "${container}": ${reason}`;
    err(`${errStyle('red', 'error:')} ${what}\n`);
  }
  throw new ExitCode(1);
}
