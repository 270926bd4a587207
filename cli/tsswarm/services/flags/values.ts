import { TsswarmError } from '../../../../base/errors.ts';
import { parseBytes, parseDurationMs, splitWords } from '../../../../compose/normalise/units.ts';

/** @throws INVALID_INPUT: "using --replicas "x": expected …" */
export function refuseValue(flag: string, value: string, expected: string): never {
  throw new TsswarmError('INVALID_INPUT', `using ${flag} "${value}": ${expected}`);
}

/** A whole number from `from` on. @throws INVALID_INPUT */
export function count(flag: string, text: string, from = 0): number {
  if (/^-?\d{1,15}$/.test(text) && Number(text) >= from) return Number(text);
  return refuseValue(flag, text, `expected a whole number${from === -Infinity ? '' : ` from ${from} on`}`);
}

/** "1m30s" in ms. @throws INVALID_INPUT */
export function durationMs(flag: string, text: string): number {
  const ms = parseDurationMs(text);
  return ms === undefined ? refuseValue(flag, text, 'expected a duration such as 10s or 1m30s') : Math.round(ms);
}

/** "512m" in bytes. @throws INVALID_INPUT */
export function bytes(flag: string, text: string): number {
  const value = parseBytes(text);
  return value === undefined ? refuseValue(flag, text, 'expected a size such as 512m or 2g') : value;
}

/** "0.5" CPUs in thousand-millionths. @throws INVALID_INPUT */
export function nanoCpus(flag: string, text: string): number {
  const nano = Math.round(Number(text) * 1e9);
  if (/^\d+(\.\d+)?$/.test(text) && Number.isSafeInteger(nano)) return nano;
  return refuseValue(flag, text, 'expected a number of CPUs such as 0.5');
}

/** A part of all, 0 to 1. @throws INVALID_INPUT */
export function ratio(flag: string, text: string): number {
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) <= 1) return Number(text);
  return refuseValue(flag, text, 'expected a number from 0 to 1');
}

/** One of some words. @throws INVALID_INPUT */
export function word<T extends string>(flag: string, text: string, words: readonly T[]): T {
  const found = words.find((one) => one === text);
  return found ?? refuseValue(flag, text, `expected ${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`);
}

/** A command line as words, without a shell. @throws INVALID_INPUT */
export function commandWords(flag: string, text: string): readonly string[] {
  return splitWords(text) ?? refuseValue(flag, text, 'a quote is not closed');
}

/** "true", "false", "1", "0"; a key alone is true. @throws INVALID_INPUT */
export function flagBoolean(flag: string, text: string, value: string): boolean {
  if (/^(|1|t|true)$/i.test(value)) return true;
  return /^(0|f|false)$/i.test(value) ? false : refuseValue(flag, text, `"${value}" is neither true nor false`);
}

/** "key=value"; without "=" the value is empty. @throws INVALID_INPUT for an empty key */
export function pair(flag: string, text: string): readonly [string, string] {
  const split = text.indexOf('=');
  const key = split < 0 ? text : text.slice(0, split);
  return key === '' ? refuseValue(flag, text, 'expected <key>=<value>') : [key, split < 0 ? '' : text.slice(split + 1)];
}

/**
 * Fields of one line of comma-separated values (RFC 4180): those in quotes may hold commas.
 * @throws INVALID_INPUT for a quote that is not closed
 */
export function csvFields(flag: string, text: string): readonly string[] {
  const fields: string[] = [];
  for (let rest = text; ;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/.exec(rest);
    if (match === null) return refuseValue(flag, text, 'a quote is not closed, or stands inside a value');
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '') return fields;
    rest = rest.slice(match[0].length);
  }
}

/** Fields "key=value" of such a line, keys in lower case, in order. @throws INVALID_INPUT */
export function csvPairs(flag: string, text: string): readonly (readonly [string, string])[] {
  return csvFields(flag, text).map((field) => {
    const [key, value] = pair(flag, field.trim());
    return [key.toLowerCase(), value];
  });
}

const LAST_PORT = 65_535;

/** "80" or "80-89" as first and last. @throws INVALID_INPUT */
export function portRange(flag: string, text: string, range: string): readonly [number, number] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range);
  const first = Number(match?.[1] ?? 0);
  const last = match?.[2] === undefined ? first : Number(match[2]);
  if (match === null || first < 1 || last > LAST_PORT || first > last)
    return refuseValue(flag, text, `"${range}" is no port from 1 to ${LAST_PORT}`);
  return [first, last];
}
