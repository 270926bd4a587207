import { TsswarmError } from '../../base/errors.ts';
import { GO_FUNCTIONS, TemplateFault, compileTemplate as compile, jsonOf, printed } from '../../base/template/index.ts';
import type { TemplateFunctions } from '../../base/template/index.ts';
import { count, text } from '../../base/template/functions.ts';

/** The functions of Go's templates and of Docker's `--format`. */
const FUNCTIONS: TemplateFunctions = {
  ...GO_FUNCTIONS,
  json: (value) => jsonOf(value),
  upper: (value) => text(value).toUpperCase(),
  lower: (value) => text(value).toLowerCase(),
  title: (value) =>
    text(value).replace(/(^|\s)(\S)/g, (_, before: string, letter: string) => before + letter.toUpperCase()),
  join: (list, separator) => {
    if (!Array.isArray(list)) throw new Error('expected a list and a separator');
    return list.map(printed).join(text(separator));
  },
  split: (value, separator) => text(value).split(text(separator)),
  truncate: (value, length) => text(value).slice(0, count(length)),
  pad: (value, before, after) => ' '.repeat(count(before)) + text(value) + ' '.repeat(count(after)),
};

/**
 * A template, ready to be filled.
 * @param format Go's text/template, as Docker's `--format` takes it; `\t` and `\n` stand for tab and newline, as Docker has it
 * @returns fills it with an object; a field that the object does not have, and a function that is not known, are refused. A `Map`
 *   may lack keys: "<no value>"
 * @throws INVALID_INPUT
 */
export function compileTemplate(format: string): (data: unknown) => string {
  const refusing = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error;
      throw new TsswarmError('INVALID_INPUT', `using --format "${format}": ${error.message}`, {
        hint: "as '{{.ID}} {{.Hostname}}', 'table {{.ID}}\\t{{.Hostname}}' or json",
      });
    }
  };
  const source = format.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  const fill = refusing(() => compile(source, { functions: FUNCTIONS, missing: 'no value' }));
  return (data) => refusing(() => fill(data));
}
