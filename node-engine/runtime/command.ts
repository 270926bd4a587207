import { TsswarmError } from '../../base/errors.ts';
import type { ContainerSpec } from '../../proto/types/index.ts';
import type { ImageConfig } from '../types.ts';

/** Docker's default, for images that set none. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * What is executed: entrypoint, then command. An entrypoint of the spec (even an empty one) replaces the image's and drops the
 * image's command (Docker's rule since 1.13).
 * @throws INVALID_INPUT when neither spec nor image name a command
 */
export function resolveArgv(
  spec: Pick<ContainerSpec, 'entrypoint' | 'command' | 'image'>,
  image: ImageConfig,
): readonly string[] {
  const entrypoint = spec.entrypoint?.args ?? image.entrypoint;
  const command = spec.command?.args ?? (spec.entrypoint ? [] : image.command);
  const argv = [...entrypoint, ...command];
  if (argv.length === 0) {
    throw new TsswarmError('INVALID_INPUT', `running image "${spec.image}": it has no command and none was given`, {
      hint: 'set `command` or `entrypoint`',
    });
  }
  return argv;
}

/**
 * The environment: PATH, HOSTNAME and (with a terminal) TERM beneath the image's variables beneath the spec's. An entry
 * without "=" takes the variable away. HOME is the launcher's business, for it knows the container's /etc/passwd.
 */
export function resolveEnvironment(
  image: readonly string[],
  spec: readonly string[],
  hostname: string,
  tty: boolean,
): readonly string[] {
  const base = [`PATH=${DEFAULT_PATH}`, `HOSTNAME=${hostname}`, ...(tty ? ['TERM=xterm'] : [])];
  return mergeEnvironment(mergeEnvironment(base, image), spec);
}

/** `over` on top of `base`: same name replaces in place, a name without "=" removes, others are appended. */
export function mergeEnvironment(base: readonly string[], over: readonly string[]): readonly string[] {
  const variables = new Map(base.map((entry) => [nameOf(entry), entry]));
  for (const entry of over) {
    if (entry.includes('=')) variables.set(nameOf(entry), entry);
    else variables.delete(entry);
  }
  return [...variables.values()];
}

function nameOf(entry: string): string {
  const end = entry.indexOf('=');
  return end === -1 ? entry : entry.slice(0, end);
}

/** The working directory: the spec's, the image's, "/". @throws INVALID_INPUT when it is not absolute */
export function resolveWorkingDir(spec: string, image: string): string {
  const path = spec !== '' ? spec : image !== '' ? image : '/';
  if (!path.startsWith('/')) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `setting the working directory "${path}": it is relative, expected an absolute path`,
    );
  }
  return path;
}
