import { TsswarmError } from '../../base/errors.ts';
import { EXAMPLE_CONTEXT, templateFault } from '../../base/template/index.ts';
import type { ComposeFile } from '../types/project.ts';

/**
 * Checks the content of a secret or config that is a template.
 * @param path "configs.settings", for the message
 * @throws INVALID_COMPOSE for one that could never be expanded, with its place in the file
 */
export function checkContent(path: string, { file }: ComposeFile, data: Uint8Array): void {
  const text = Buffer.from(data).toString('utf8');
  const example = (): string => '';
  const fault = templateFault(text, EXAMPLE_CONTEXT, { secret: example, config: example, env: example });
  if (fault === undefined) return;
  const before = text.slice(0, fault.offset).split('\n');
  const [line, column] = [before.length, (before.at(-1) ?? '').length + 1];
  const where = file === undefined ? {} : { where: { file, line, column } };
  const place = file === undefined ? ` (line ${line}, column ${column} of its content)` : '';
  throw new TsswarmError('INVALID_COMPOSE', `reading the template of "${path}"${place}: ${fault.message}`, where);
}
