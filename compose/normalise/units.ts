import type { Reader } from './reader.ts';

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  kb: 2 ** 10,
  m: 2 ** 20,
  mb: 2 ** 20,
  g: 2 ** 30,
  gb: 2 ** 30,
  t: 2 ** 40,
  tb: 2 ** 40,
};

/** "1m30s" → 90000. Undefined when it is no duration. A bare 0 needs no unit. */
export function parseDurationMs(text: string): number | undefined {
  if (/^[+]?0+$/.test(text)) return 0;
  let rest = text.trim();
  let total = 0;
  if (rest === '') return undefined;
  while (rest !== '') {
    const part = /^(\d+(?:\.\d+)?)(ns|us|\u00b5s|ms|s|m|h|d|w)/.exec(rest);
    if (part === null) return undefined;
    total += Number(part[1]) * (DURATION_UNITS_MS[part[2] ?? ''] ?? 0);
    rest = rest.slice(part[0].length);
  }
  return Math.round(total * 1000) / 1000;
}

/** "512m" → 536870912; 1024-based whatever the case, as Docker counts. -1 stays -1. */
export function parseBytes(text: string): number | undefined {
  if (text.trim() === '-1') return -1;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = SIZE_UNITS[(match?.[2] ?? '?').toLowerCase().replace(/ib$/, 'b')];
  return match === null || unit === undefined ? undefined : Math.floor(Number(match[1]) * unit);
}

/** Splits a command line into words as a shell would, without running one: quotes and backslashes, no expansion. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = [];
  let word = '';
  let started = false;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const character = line[i] ?? '';
    if (quote === "'") {
      if (character === "'") quote = '';
      else word += character;
    } else if (character === '\\' && (quote === '' || /["\\$`\n]/.test(line[i + 1] ?? ''))) {
      const next = line[++i];
      if (next === undefined) return undefined;
      if (next !== '\n') word += next;
      started = true;
    } else if (quote === '"') {
      if (character === '"') quote = '';
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      started = true;
    } else if (/\s/.test(character)) {
      if (started) words.push(word);
      word = '';
      started = false;
    } else {
      word += character;
      started = true;
    }
  }
  if (quote !== '') return undefined;
  if (started) words.push(word);
  return words;
}

/** A field as a duration in milliseconds; absent stays absent. */
export function durationField(reader: Reader, key: string): number | undefined {
  const value = reader.text(key);
  if (value === undefined) return undefined;
  return parseDurationMs(value) ?? reader.refuse(key, `is "${value}", expected a duration such as "1m30s"`);
}

/** A field as bytes. */
export function bytesField(reader: Reader, key: string): number | undefined {
  const value = reader.text(key);
  if (value === undefined) return undefined;
  return parseBytes(value) ?? reader.refuse(key, `is "${value}", expected a size such as "512m"`);
}

/** A field as a command: a line is split into words, a list is taken as it is, null stays null. */
export function commandField(reader: Reader, key: string): readonly string[] | null {
  const value = reader.raw(key);
  if (value === undefined || value === null) return null;
  if (Array.isArray(value)) return value.map(String);
  return splitWords(String(value)) ?? reader.refuse(key, `is "${String(value)}": a quote is not closed`);
}
