import { TsswarmError } from '../../base/errors.ts';
import { parseGenericResources } from '../../base/generic-resource.ts';
import type { NodeResource } from '../../base/generic-resource.ts';

/** What a node's flags `--generic-resource` say. @throws INVALID_INPUT */
export function genericResources(given: readonly string[]): readonly NodeResource[] {
  const parsed = parseGenericResources(given);
  if (typeof parsed[0] !== 'string') return parsed as readonly NodeResource[];
  const [text, why] = parsed as readonly [string, string];
  throw new TsswarmError('INVALID_INPUT', `using --generic-resource "${text}": ${why}`);
}
