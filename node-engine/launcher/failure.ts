import { constants } from 'node:os';
import { TsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';

/** What the launcher says when it could not run a process: the object under "error" of its one line. */
export interface LaunchFailure {
  /** "mount", "exec", "cgroup", … */
  readonly stage: string;
  /** What it was about: a path, a limit, a name; may be empty. */
  readonly path: string;
  /** "ENOENT" */
  readonly errno: string;
  readonly message: string;
}

/** The first line of `text` as a failure; undefined when it is none. */
export function parseFailure(text: string): LaunchFailure | undefined {
  try {
    const line = JSON.parse(text) as { readonly error?: Partial<LaunchFailure> };
    if (typeof line.error?.message !== 'string') return undefined;
    const { stage = '', path = '', errno = '', message } = line.error;
    return { stage, path, errno, message };
  } catch {
    return undefined;
  }
}

/**
 * The launcher's failure as an error of the catalogue: a command that does not exist and one that cannot be executed keep
 * codes of their own, because Docker's exit codes (127, 126, 125) tell them apart.
 */
export function failureError(action: string, failure: LaunchFailure): TsswarmError {
  const [code, hint] = classify(failure);
  return new TsswarmError(code, `${action}: ${failure.message}`, {
    cause: failure,
    ...(hint === undefined ? {} : { hint }),
  });
}

function classify(failure: LaunchFailure): [ErrorCode, string | undefined] {
  const { stage, errno, path } = failure;
  if (stage === 'exec' && errno === 'ENOENT')
    return ['COMMAND_NOT_FOUND', `check that "${path}" is in the image, and its PATH`];
  if (stage === 'exec' && errno === 'ENOEXEC')
    return ['COMMAND_NOT_EXECUTABLE', `"${path}" is built for another machine, or is a script without a #! line`];
  if (stage === 'exec' && (errno === 'EACCES' || errno === 'EISDIR' || errno === 'EPERM'))
    return ['COMMAND_NOT_EXECUTABLE', `make "${path}" executable in the image (chmod +x), or name the program itself`];
  if (stage === 'mount') return ['MOUNT_FAILED', undefined];
  if (stage === 'user') return ['RUNTIME_FAILED', 'name a user or group that the image has, or a number'];
  if (stage === 'state' && errno === 'EBUSY') return ['CONFLICT', undefined];
  if (stage === 'state' && errno === 'ESRCH') return ['CONTAINER_NOT_RUNNING', undefined];
  return ['RUNTIME_FAILED', undefined];
}

/** The number of "SIGTERM", "TERM" or "15". @throws INVALID_INPUT */
export function signalNumber(signal: string): number {
  const text = signal.trim().toUpperCase();
  const number = /^\d+$/.test(text) ? Number(text) : NUMBERS.get(text.startsWith('SIG') ? text : `SIG${text}`);
  if (number === undefined || number < 1 || number > 64)
    throw new TsswarmError('INVALID_INPUT', `reading the signal "${signal}": neither a name like SIGTERM nor 1 to 64`);
  return number;
}

const NUMBERS = new Map<string, number>(Object.entries(constants.signals));
