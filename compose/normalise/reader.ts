import { TsswarmError } from '../../base/errors.ts';
import type { SourceLocation } from '../../base/errors.ts';
import type { Path, TreeNode } from '../types/node.ts';
import { formatPath, locate, plainValue } from '../types/node.ts';

/** Reads one map of a validated tree field by field, and knows the place of each for errors. */
export class Reader {
  readonly #root: TreeNode;
  readonly path: Path;
  readonly #node: TreeNode | undefined;

  constructor(root: TreeNode, path: Path) {
    this.#root = root;
    this.path = path;
    this.#node = descend(root, path);
  }

  /** The reader of a field that is itself a map or list. */
  at(...keys: Path): Reader {
    return new Reader(this.#root, [...this.path, ...keys]);
  }

  get exists(): boolean {
    return this.#node !== undefined && !(this.#node.kind === 'scalar' && this.#node.value === null);
  }

  get value(): unknown {
    return this.#node === undefined ? undefined : plainValue(this.#node);
  }

  /** Keys of a map without extensions, or the indexes of a list. */
  keys(): readonly string[] {
    if (this.#node?.kind === 'map') return [...this.#node.entries.keys()].filter((key) => !key.startsWith('x-'));
    return this.#node?.kind === 'list' ? this.#node.items.map((_, i) => String(i)) : [];
  }

  /** Readers of a list's items. */
  items(): readonly Reader[] {
    return this.#node?.kind === 'list' ? this.#node.items.map((_, i) => this.at(i)) : [];
  }

  raw(key: string | number): unknown {
    const node = this.#node === undefined ? undefined : descend(this.#node, [key]);
    return node === undefined ? undefined : plainValue(node);
  }

  /** A scalar as text; absent and null are undefined. */
  text(key: string | number): string | undefined {
    const value = this.raw(key);
    return value === undefined || value === null ? undefined : String(value);
  }

  bool(key: string): boolean | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    if (/^(true|yes|y|on|1)$/i.test(value)) return true;
    if (/^(false|no|n|off|0)$/i.test(value)) return false;
    return this.refuse(key, `is "${value}", expected true or false`);
  }

  number(key: string): number | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    const number = Number(value);
    return value.trim() !== '' && Number.isFinite(number)
      ? number
      : this.refuse(key, `is "${value}", expected a number`);
  }

  integer(key: string): number | undefined {
    const number = this.number(key);
    if (number === undefined || Number.isSafeInteger(number)) return number;
    return this.refuse(key, `is "${number}", expected a whole number`);
  }

  /** Permission bits: a number, or text in octal ("0440"). */
  mode(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number') return value;
    const text = String(value);
    return /^0?[0-7]{3,4}$/.test(text)
      ? Number.parseInt(text, 8)
      : this.refuse(key, `is "${text}", expected permission bits such as 0440`);
  }

  /** Text or a list of texts, as a list. */
  strings(key: string): readonly string[] | undefined {
    const value = this.raw(key);
    if (value === undefined || value === null) return undefined;
    return Array.isArray(value) ? value.map(String) : [String(value)];
  }

  /** `{A: 1}` or `[A=1, B]` as a map; a key without a value is null. */
  pairs(key: string): Readonly<Record<string, string | null>> | undefined {
    const value = this.raw(key);
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) {
      return Object.fromEntries(
        Object.entries(value as Record<string, unknown>).map(([name, inner]) => [
          name,
          inner === null ? null : String(inner),
        ]),
      );
    }
    return Object.fromEntries(
      value.map(String).map((item) => {
        const split = item.indexOf('=');
        return split < 0 ? [item, null] : [item.slice(0, split), item.slice(split + 1)];
      }),
    );
  }

  /** Pairs whose missing values are empty texts: labels, options. */
  labels(key: string): Readonly<Record<string, string>> | undefined {
    const pairs = this.pairs(key);
    return pairs === undefined
      ? undefined
      : Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, value ?? '']));
  }

  where(key?: string | number): SourceLocation {
    return locate(this.#root, key === undefined ? this.path : [...this.path, key]);
  }

  /** The error for a field. @throws INVALID_COMPOSE always */
  refuse(key: string | number | undefined, what: string, hint?: string): never {
    const path = key === undefined ? this.path : [...this.path, key];
    throw new TsswarmError('INVALID_COMPOSE', `"${formatPath(path)}" ${what}`, {
      where: this.where(key),
      ...(hint === undefined ? {} : { hint }),
    });
  }

  /** The error for a field whose value is understood and not honoured. @throws NOT_SUPPORTED always */
  notYet(key: string | number | undefined, what: string): never {
    const path = key === undefined ? this.path : [...this.path, key];
    throw new TsswarmError('NOT_SUPPORTED', `"${formatPath(path)}" ${what} is not supported yet by this version`, {
      where: this.where(key),
    });
  }
}

function descend(root: TreeNode, path: Path): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const part of path) {
    if (node?.kind === 'map') node = node.entries.get(String(part))?.node;
    else if (node?.kind === 'list') node = node.items[Number(part)];
    else return undefined;
  }
  return node;
}

/** The object without its undefined fields: absent is absent, as `exactOptionalPropertyTypes` wants it. */
export function compact<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}
