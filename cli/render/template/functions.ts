import { isTrue, jsonOf, printed } from './values.ts';

type TemplateFunction = (...args: readonly unknown[]) => unknown;

/** The functions of Go's templates and of Docker's that are known here. What they throw is the reason. */
const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  json: (value) => jsonOf(value),
  upper: (value) => text(value).toUpperCase(),
  lower: (value) => text(value).toLowerCase(),
  title: (value) =>
    text(value).replace(/(^|\s)(\S)/g, (_, before: string, letter: string) => before + letter.toUpperCase()),
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    if (value instanceof Map) return value.size;
    throw new Error('expected a text, a list or a map');
  },
  join: (list, separator) => {
    if (!Array.isArray(list)) throw new Error('expected a list and a separator');
    return list.map(printed).join(text(separator));
  },
  split: (value, separator) => text(value).split(text(separator)),
  truncate: (value, length) => text(value).slice(0, count(length)),
  pad: (value, before, after) => ' '.repeat(count(before)) + text(value) + ' '.repeat(count(after)),
  print: (...values) => values.map(printed).join(' '),
  println: (...values) => `${values.map(printed).join(' ')}\n`,
  printf: (format, ...values) => formatted(text(format), values),
  index: (value, ...keys) =>
    keys.reduce<unknown>((inner, key) => {
      if (inner instanceof Map) return (inner as Map<unknown, unknown>).get(key);
      if (!Array.isArray(inner)) throw new Error('expected a list or a map');
      if (typeof key === 'number' && key >= 0 && key < inner.length) return inner[key] as unknown;
      throw new Error(`there is no element ${printed(key)}`);
    }, value),
  eq: (value, ...others) => others.some((other) => value === other),
  ne: (value, other) => value !== other,
  lt: (value, other) => count(value) < count(other),
  gt: (value, other) => count(value) > count(other),
  not: (value) => !isTrue(value),
  and: (...values) => values.find((value) => !isTrue(value)) ?? values.at(-1),
  or: (...values) => values.find(isTrue) ?? values.at(-1),
};

export const isFunction = (name: string): boolean => Object.hasOwn(FUNCTIONS, name);

/** @throws Error with the reason, when the arguments do not fit */
export function callFunction(name: string, args: readonly unknown[]): unknown {
  return FUNCTIONS[name]?.(...args);
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error(`expected a text, there is ${value === undefined ? 'nothing' : printed(value)}`);
}

function count(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new Error(`expected a number, there is ${value === undefined ? 'nothing' : printed(value)}`);
}

/** %s, %v, %d and %q with width and precision. */
function formatted(format: string, values: readonly unknown[]): string {
  let next = 0;
  return format.replace(/%(-?)(\d*)(?:\.(\d+))?(.)/g, (_, left: string, width: string, precision, verb: string) => {
    if (verb === '%') return '%';
    if (!'svdq'.includes(verb)) throw new Error(`"%${verb}" is not known, expected %s, %v, %d or %q`);
    const plain = printed(values[next++]);
    const cut = typeof precision === 'string' && verb !== 'd' ? plain.slice(0, Number(precision)) : plain;
    const shown = verb === 'q' ? JSON.stringify(cut) : cut;
    return left === '' ? shown.padStart(Number(width)) : shown.padEnd(Number(width));
  });
}
