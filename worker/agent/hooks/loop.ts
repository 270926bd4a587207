import { messageOf } from '../../../base/errors.ts';
import type { ContainerId, Containers } from '../../../node-engine/types.ts';
import type { Hook } from '../../../proto/types/index.ts';
import { collectOutput } from '../output.ts';

/**
 * Runs the commands of a moment of a container's life, one after the other; the first that fails is the last one.
 * @param moment "post_start" or "pre_stop", for the reason
 * @param signal its abort ends the command that runs
 * @returns why it failed, in one line; empty: all ended well
 */
export async function runHooks(
  target: Pick<Containers, 'exec'>,
  id: ContainerId,
  moment: 'post_start' | 'pre_stop',
  hooks: readonly Hook[],
  signal: AbortSignal,
): Promise<string> {
  for (const hook of hooks) {
    const named = `${moment} hook "${hook.command.join(' ')}"`;
    if (signal.aborted) return `${named}: ${messageOf(signal.reason)}`;
    try {
      const { code, output } = await runHook(target, id, hook, signal);
      if (code !== 0) return `${named}: it ended with exit code ${code}${output === '' ? '' : `: ${output}`}`;
    } catch (error) {
      return `${named}: ${messageOf(error)}`;
    }
  }
  return '';
}

/** @throws the signal's reason, and why the command could not be run */
async function runHook(
  target: Pick<Containers, 'exec'>,
  id: ContainerId,
  { command, user, privileged, workingDir, env }: Hook,
  signal: AbortSignal,
): Promise<{ readonly code: number; readonly output: string }> {
  const session = await target.exec(id, {
    argv: command,
    env,
    user,
    workingDir,
    tty: false,
    stdin: false,
    privileged,
  });
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    const output = collectOutput(session.output);
    // What it left in the background may hold its output open: only its own end counts.
    const { code } = await Promise.race([session.exit, aborted.promise]);
    if (code === 0) return { code, output: '' };
    return { code, output: await Promise.race([output, aborted.promise]) };
  } finally {
    signal.removeEventListener('abort', abort);
    aborted.promise.catch(() => undefined);
    session.close();
  }
}
