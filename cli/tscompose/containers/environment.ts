import { TsswarmError } from '../../../base/errors.ts';

/**
 * `-e` values as NAME=value words: a name alone takes its value from our own environment, and is left out when it has none.
 * @throws INVALID_INPUT for an empty name
 */
export function environmentWords(
  values: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  return values.flatMap((value) => {
    const name = value.split('=', 1)[0] ?? '';
    if (name === '') throw new TsswarmError('INVALID_INPUT', `using -e "${value}": expected NAME=VALUE or NAME`);
    if (value.includes('=')) return [value];
    const own = environment[name];
    return own === undefined ? [] : [`${name}=${own}`];
  });
}
