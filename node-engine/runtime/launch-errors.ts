import { TsswarmError } from '../../base/errors.ts';
import type { LaunchFailure } from './ports.ts';

/** What was to be started, for messages. */
export interface LaunchSubject {
  /** "starting", "executing in" */
  readonly action: string;
  /** "shop-web-1" */
  readonly container: string;
  readonly image: string;
  readonly command: string;
}

/**
 * A failure of the launcher as an error of the catalogue: what the user can mend has a code of its own, the rest is
 * RUNTIME_FAILED with the step and the kernel's error.
 */
export function launchError(
  failure: LaunchFailure,
  { action: verb, container, image, command }: LaunchSubject,
): TsswarmError {
  const { stage, path, errno, message } = failure;
  const action = `${verb} container "${container}"`;
  if (stage === 'exec' && (errno === 'ENOENT' || errno === 'ENOTDIR')) {
    const what = command.includes('/') ? 'no such file or directory' : 'executable file not found in $PATH';
    return new TsswarmError('COMMAND_NOT_FOUND', `${action}: exec "${command}" of image "${image}": ${what}`, {
      hint: command.includes('/')
        ? 'a script whose "#!" interpreter, or a program whose loader, is not in the image reports the same'
        : 'correct `command` or `entrypoint`, or use an image that has the program',
    });
  }
  if (stage === 'exec' && (errno === 'EACCES' || errno === 'EPERM' || errno === 'EISDIR')) {
    return new TsswarmError(
      'COMMAND_NOT_EXECUTABLE',
      `${action}: exec "${command}" of image "${image}": permission denied`,
      {
        hint: 'make the file executable in the image (chmod +x)',
      },
    );
  }
  if (stage === 'exec' && (errno === 'ENOEXEC' || errno === 'ELIBBAD')) {
    return new TsswarmError(
      'COMMAND_NOT_EXECUTABLE',
      `${action}: exec "${command}" of image "${image}": exec format error`,
      {
        hint: 'a script needs a "#!" line, a program the architecture of this machine',
      },
    );
  }
  if (stage === 'user') {
    return new TsswarmError('INVALID_INPUT', `${action}: ${message}`, {
      hint: 'name a user and group that the image knows, or numbers',
    });
  }
  if (stage === 'mount') return new TsswarmError('MOUNT_FAILED', `${action}: ${message}`);
  const at = path === '' || message.includes(path) ? '' : ` "${path}"`;
  return new TsswarmError('RUNTIME_FAILED', `${action}: ${stage}${at}: ${message}`);
}
