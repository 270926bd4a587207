import { TsswarmError } from '../../base/errors.ts';
import type { SourceLocation } from '../../base/errors.ts';

/** Where variables come from: undefined means unset, which is not the same as empty. */
export type Lookup = (name: string) => string | undefined;

export interface InterpolationContext {
  readonly lookup: Lookup;
  readonly where: SourceLocation;
  /** Called for a variable that is unset and has no default: compose warns and takes the empty string. */
  readonly onUnset: (name: string, where: SourceLocation) => void;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

/**
 * Replaces `$NAME`, `${NAME}` and `${NAME<op>word}` with op one of `:-` `-` `:+` `+` `:?` `?`; `$$` is a dollar. Words are
 * templates themselves and are only evaluated when they are used (Compose Specification, "Interpolation").
 * @throws INVALID_COMPOSE for a malformed `${…}` and for `:?` and `?`
 */
export function interpolate(template: string, context: InterpolationContext): string {
  if (!template.includes('$')) return template;
  let result = '';
  for (let i = 0; i < template.length;) {
    const dollar = template.indexOf('$', i);
    if (dollar < 0) return result + template.slice(i);
    result += template.slice(i, dollar);
    const next = template[dollar + 1];
    if (next === '$') {
      result += '$';
      i = dollar + 2;
    } else if (next === '{') {
      const end = closingBrace(template, dollar + 2);
      if (end < 0) throw malformed(template.slice(dollar), context);
      result += expand(template.slice(dollar + 2, end), context);
      i = end + 1;
    } else {
      const name = NAME.exec(template.slice(dollar + 1))?.[0];
      if (name === undefined) result += '$';
      else result += variable(name, context);
      i = dollar + 1 + (name?.length ?? 0);
    }
  }
  return result;
}

function variable(name: string, { lookup, onUnset, where }: InterpolationContext): string {
  const value = lookup(name);
  if (value === undefined) onUnset(name, where);
  return value ?? '';
}

/** Index of the brace that closes the one before `from`; nested braces count, so JSON defaults work. */
function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

function expand(body: string, context: InterpolationContext): string {
  const name = NAME.exec(body)?.[0];
  if (name === undefined) throw malformed(`\${${body}}`, context);
  const rest = body.slice(name.length);
  if (rest === '') return variable(name, context);
  const operator = /^:?[-+?]/.exec(rest)?.[0];
  if (operator === undefined) throw malformed(`\${${body}}`, context);
  const word = rest.slice(operator.length);
  const value = context.lookup(name);
  const present = value !== undefined && (value !== '' || !operator.startsWith(':'));
  switch (operator.at(-1)) {
    case '-':
      return present ? value : interpolate(word, context);
    case '+':
      return present ? interpolate(word, context) : '';
    default: {
      if (present) return value;
      const reason = interpolate(word, context);
      throw new TsswarmError(
        'INVALID_COMPOSE',
        `required variable "${name}" is missing a value${reason === '' ? '' : `: ${reason}`}`,
        { where: context.where, hint: `set ${name} in the environment or in .env` },
      );
    }
  }
}

function malformed(text: string, { where }: InterpolationContext): TsswarmError {
  return new TsswarmError(
    'INVALID_COMPOSE',
    `reading the variable in "${text}": malformed, expected \${NAME} or \${NAME:-default}`,
    {
      where,
      hint: 'write $$ for a literal dollar',
    },
  );
}
