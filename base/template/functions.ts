import { isTrue, printed } from './values.ts';

/** What it throws is the reason why it cannot be done. */
export type TemplateFunction = (...args: readonly unknown[]) => unknown;
export type TemplateFunctions = Readonly<Record<string, TemplateFunction>>;

/** Functions that every Go template has; `call`, `html`, `js` and `urlquery` are of no use here. */
export const GO_FUNCTIONS: TemplateFunctions = {
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    if (value instanceof Map) return value.size;
    throw new Error('expected a text, a list or a map');
  },
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
  lt: (value, other) => compared(value, other) < 0,
  le: (value, other) => compared(value, other) <= 0,
  gt: (value, other) => compared(value, other) > 0,
  ge: (value, other) => compared(value, other) >= 0,
  slice: (value, from, to) => {
    const [begin, end] = [from === undefined ? 0 : count(from), to === undefined ? undefined : count(to)];
    const whole = Array.isArray(value) ? (value as readonly unknown[]) : text(value);
    if (begin < 0 || (end ?? begin) < begin || (end ?? begin) > whole.length)
      throw new Error(`${begin}${end === undefined ? '' : ` to ${end}`} is outside of ${whole.length} elements`);
    return whole.slice(begin, end);
  },
  not: (value) => !isTrue(value),
  and: (...values) => values.find((value) => !isTrue(value)) ?? values.at(-1),
  or: (...values) => values.find(isTrue) ?? values.at(-1),
};

/** @throws Error where it is none */
export function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error(`expected a text, there is ${value === undefined ? 'nothing' : printed(value)}`);
}

/** @throws Error where it is none */
export function count(value: unknown): number {
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

/** Numbers by size, texts by their characters. */
function compared(a: unknown, b: unknown): number {
  if (typeof a === 'string') return a < text(b) ? -1 : Number(a > text(b));
  return count(a) - count(b);
}
