import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { ContainerId, Containers, OutputChunk } from '../../../node-engine/types.ts';
import type { Hook } from '../../../proto/types/index.ts';
import { collectOutput } from '../output.ts';
import { HookLog } from './output.ts';
import type { HookLines } from './output.ts';

/** What a hook left in the background may hold its output open: what comes later than this after its end is nobody's. */
const LAST_WORDS_MS = 200;

/** Where hooks are run, and whose log gets what they say. */
export type HookTarget = Pick<Containers, 'exec' | 'appendLog'>;

/**
 * Runs the commands of a moment of a container's life, one after the other; the first that fails is the last one. What they say goes
 * into the container's log, each line marked with the moment: "[post_start] listening".
 * @param moment "post_start" or "pre_stop", for the reason
 * @param signal its abort ends the command that runs
 * @returns why it failed, in one line; empty: all ended well
 */
export async function runHooks(
  target: HookTarget,
  id: ContainerId,
  moment: 'post_start' | 'pre_stop',
  hooks: readonly Hook[],
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  for (const hook of hooks) {
    const failure = await runHook(target, id, moment, hook, clock, signal);
    if (failure !== '') return `${moment} hook "${hook.command.join(' ')}": ${failure}`;
  }
  return '';
}

/** @returns why it failed; empty: it did not */
async function runHook(
  target: HookTarget,
  id: ContainerId,
  moment: string,
  hook: Hook,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  if (signal.aborted) return messageOf(signal.reason);
  const log = new HookLog(moment);
  let writing = Promise.resolve();
  const write = ({ stream, lines }: HookLines): void => {
    if (lines.length === 0) return;
    // A log that cannot be written costs lines, never the container.
    writing = writing.then(() => target.appendLog(id, stream, lines)).catch(() => undefined);
  };
  const finish = async (failure: string): Promise<string> => {
    log.finish().forEach(write);
    if (failure !== '') write(log.remark(`"${hook.command.join(' ')}": ${failure}`));
    await writing;
    return failure;
  };
  try {
    const { code, output } = await runCommand(target, id, hook, clock, signal, (chunk) => write(log.take(chunk)));
    if (code === 0) return await finish('');
    await finish(`it ended with exit code ${code}`);
    return `it ended with exit code ${code}${output === '' ? '' : `: ${output}`}`;
  } catch (error) {
    return await finish(messageOf(error));
  }
}

/** @throws the signal's reason, and why the command could not be run */
async function runCommand(
  target: HookTarget,
  id: ContainerId,
  { command, user, privileged, workingDir, env }: Hook,
  clock: Clock,
  signal: AbortSignal,
  onOutput: (chunk: OutputChunk) => void,
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
  const over = new AbortController();
  try {
    const said: OutputChunk[] = [];
    const listening = (async () => {
      for await (const chunk of session.output) {
        said.push(chunk);
        onOutput(chunk);
      }
    })();
    listening.catch(() => undefined);
    const { code } = await Promise.race([session.exit, aborted.promise]);
    const late = sleep(clock, LAST_WORDS_MS, over.signal).catch(() => undefined);
    await Promise.race([listening, late, aborted.promise]);
    return { code, output: code === 0 ? '' : await collectOutput(said) };
  } finally {
    over.abort(new Error('the hook is over'));
    signal.removeEventListener('abort', abort);
    aborted.promise.catch(() => undefined);
    session.close();
  }
}
