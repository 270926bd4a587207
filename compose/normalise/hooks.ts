import type { ComposeHook } from '../types/project.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';
import { commandField } from './units.ts';

/**
 * Commands that are run at a moment of the container's life.
 * @param lookup variables of the project: a bare `environment` key takes its value from here
 * @throws INVALID_COMPOSE with the place
 */
export function readHooks(
  list: Reader,
  lookup: (name: string) => string | undefined,
): readonly ComposeHook[] | undefined {
  if (!list.exists) return undefined;
  return list.items().map((item) => {
    const command = commandField(item, 'command');
    if (command === null || command.length === 0) return item.refuse(undefined, 'has no "command"');
    const pairs = item.pairs('environment');
    const environment =
      pairs === undefined
        ? undefined
        : Object.fromEntries(Object.entries(pairs).map(([key, value]) => [key, value ?? lookup(key) ?? null]));
    return compact({
      command,
      user: item.text('user'),
      privileged: item.bool('privileged'),
      working_dir: item.text('working_dir'),
      environment,
    }) as ComposeHook;
  });
}
