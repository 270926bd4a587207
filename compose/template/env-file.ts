import { TsswarmError } from '../../base/errors.ts';
import type { Lookup } from './interpolate.ts';
import { interpolate } from './interpolate.ts';

/**
 * Reads an env file (.env, --env-file, env_file:): `KEY=value`, `KEY: value`, `export KEY=value`; single quotes are
 * literal, double quotes know escapes and variables, both may span lines; ` #` starts a comment; a bare `KEY` takes the
 * surrounding value or is left out.
 * @param outer variables from outside the file; earlier keys of the file come after them
 * @throws INVALID_COMPOSE with the line
 */
export function parseEnvFile(
  text: string,
  file: string,
  outer: Lookup,
  onUnset: (name: string) => void = () => undefined,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const source = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const lookup: Lookup = (name) => outer(name) ?? values.get(name);
  let offset = 0;
  let line = 1;
  const fail = (message: string): never => {
    throw new TsswarmError('INVALID_COMPOSE', `reading the env file: ${message}`, { where: { file, line, column: 1 } });
  };
  while (offset < source.length) {
    const end = endOfLine(source, offset);
    const raw = source.slice(offset, end);
    const entry = /^\s*(?:export\s+)?([^\s=:#]+)\s*(?:(=|:(?=\s|$))[ \t]*(.*))?$/.exec(raw);
    if (/^\s*(#.*)?$/.test(raw)) {
      offset = end + 1;
      line++;
      continue;
    }
    if (entry === null) fail(`"${raw.trim()}" is not KEY=value`);
    const [, key = '', separator, rest = ''] = entry ?? [];
    if (separator === undefined) {
      const value = outer(key);
      if (value !== undefined) values.set(key, value);
      offset = end + 1;
      line++;
      continue;
    }
    const context = { lookup, where: { file, line, column: 1 }, onUnset };
    const quote = rest[0];
    if (quote === '"' || quote === "'") {
      const start = offset + raw.length - rest.length + 1;
      const close = closingQuote(source, start, quote);
      if (close < 0) fail(`the quote of "${key}" is not closed`);
      const inner = source.slice(start, close);
      const after = source.slice(close + 1, endOfLine(source, close));
      if (!/^\s*(#.*)?$/.test(after)) fail(`there is text behind the quoted value of "${key}"`);
      values.set(key, quote === "'" ? inner : interpolate(unescape(inner), context));
      line += inner.split('\n').length;
      offset = endOfLine(source, close) + 1;
      continue;
    }
    values.set(key, interpolate(rest.replace(/(^|\s)#.*$/, '').trim(), context));
    offset = end + 1;
    line++;
  }
  return values;
}

function endOfLine(source: string, from: number): number {
  const end = source.indexOf('\n', from);
  return end < 0 ? source.length : end;
}

function closingQuote(source: string, from: number, quote: string): number {
  for (let i = from; i < source.length; i++) {
    if (source[i] === '\\' && quote === '"') i++;
    else if (source[i] === quote) return i;
  }
  return -1;
}

function unescape(text: string): string {
  const known: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\', $: '$$' };
  return text.replace(/\\(.)/gs, (whole, character: string) => known[character] ?? whole);
}
