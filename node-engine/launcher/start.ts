import { join } from 'node:path';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { ProgramEnd } from '../native/addon.ts';
import { runProgram } from '../native/addon.ts';
import { failureError, parseFailure } from './failure.ts';
import type { ProcessIdentity } from './state.ts';

/** The launcher as `npm run build:native` makes it. */
export const LAUNCHER_PROGRAM = join(import.meta.dirname, '..', 'native', 'build', 'tsrun');

/** The json-file log that the supervisor writes. */
export interface LogTarget {
  readonly path: string;
  /** Bytes after which the file is rotated; 0: never. */
  readonly maxSizeBytes: number;
  /** Files in all, the current one included; at least 1. */
  readonly maxFiles: number;
}

export interface StartBundle {
  /** Directory with config.json. */
  readonly bundleDir: string;
  /** Existing directory of root's alone, on a file system that holds unix sockets; it is the container's while it runs. */
  readonly runDir: string;
  /** Undefined: the output is not kept. */
  readonly log?: LogTarget;
  /** File of ready BPF (see `node-engine/seccomp`); undefined: no filter. */
  readonly seccompFilter?: string;
  /** Keeps stdin open for attached sessions; else it is /dev/null. */
  readonly stdin: boolean;
  /** File with the node's lease, which the container does not outlive (see `lease.h`); undefined: it does. */
  readonly lease?: string;
  /** Path of tsrun; {@link LAUNCHER_PROGRAM} unless given. */
  readonly program?: string;
}

/**
 * Starts a bundle. Resolves when the container's program has been executed; its supervisor lives on by itself.
 * @throws COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, MOUNT_FAILED, CONFLICT (it runs already), RUNTIME_FAILED
 */
export async function startBundle(options: StartBundle): Promise<ProcessIdentity> {
  const args = ['run', '--bundle', options.bundleDir, '--run-dir', options.runDir];
  if (options.log) args.push('--log', options.log.path, '--log-max-size', `${options.log.maxSizeBytes}`);
  if (options.log) args.push('--log-max-files', `${options.log.maxFiles}`);
  if (options.seccompFilter !== undefined) args.push('--seccomp-bpf', options.seccompFilter);
  if (options.stdin) args.push('--stdin');
  if (options.lease !== undefined) args.push('--lease', options.lease);
  const action = 'starting the container';
  const line = await runLauncher(options.program ?? LAUNCHER_PROGRAM, args, action);
  const { pid, startTime } = JSON.parse(line) as Partial<ProcessIdentity>;
  if (typeof pid !== 'number' || typeof startTime !== 'string')
    throw new TsswarmError('RUNTIME_FAILED', `${action}: the launcher answered "${line.trim()}"`);
  return { pid, startTime };
}

/** Kills every process of the container, whoever started it. Not running is success. @throws RUNTIME_FAILED */
export async function killAll(runDir: string, program: string = LAUNCHER_PROGRAM): Promise<void> {
  try {
    await runLauncher(program, ['kill-all', '--run-dir', runDir], 'killing the container');
  } catch (error) {
    if (!(error instanceof TsswarmError && error.code === 'CONTAINER_NOT_RUNNING')) throw error;
  }
}

async function runLauncher(program: string, args: readonly string[], action: string): Promise<string> {
  let ended: ProgramEnd;
  try {
    ended = await runProgram(program, args, { env: {} });
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT')
      throw new TsswarmError('RUNTIME_FAILED', `${action}: "${program}" does not exist`, {
        cause,
        hint: 'run "npm run build:native" to build the launcher',
      });
    throw new TsswarmError('RUNTIME_FAILED', `${action}: the launcher failed: ${messageOf(cause)}`, { cause });
  }
  const stdout = ended.stdout.toString();
  if (ended.code === 0) return stdout;
  const failure = parseFailure(stdout);
  if (failure) throw failureError(action, failure);
  const said = ended.stderr.toString().trim();
  const end = ended.signal === 0 ? `it ended with code ${ended.code}` : `signal ${ended.signal} ended it`;
  throw new TsswarmError('RUNTIME_FAILED', `${action}: the launcher failed: ${said || end}`);
}
