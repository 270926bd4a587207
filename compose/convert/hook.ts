import type { Hook } from '../../proto/types/index.ts';
import type { ComposeHook } from '../types/project.ts';

/** A command at a moment of a container's life; variables without a value are not given. */
export function convertHook(hook: ComposeHook): Hook {
  return {
    command: hook.command,
    user: hook.user ?? '',
    privileged: hook.privileged ?? false,
    workingDir: hook.working_dir ?? '',
    env: Object.entries(hook.environment ?? {}).flatMap(([key, value]) => (value === null ? [] : [`${key}=${value}`])),
  };
}
