import { TABLE_NAMES, TABLES } from '../../manager/store/tables.ts';
import type { ReadTransaction, StoreCommit, TableName, Tables } from '../../manager/store/types.ts';
import { storeEntryCodec } from '../../proto/codec/store.ts';
import type { Entry } from '../../manager/raft/types.ts';

/** Objects by "table/id", in order of creation in each table, as text that is the same for equal objects. */
export type Objects = ReadonlyMap<string, string>;

/**
 * What the store has to hold at each version, found out from the committed entries alone and by the simplest means: maps of
 * text, one for each version.
 */
export class Reference {
  readonly #fail: (message: string) => void;
  /** Versions with a commit, in order; and what holds from each on. */
  readonly #versions: number[] = [0];
  readonly #states = new Map<number, Objects>([[0, new Map()]]);

  constructor(fail: (message: string) => void) {
    this.#fail = fail;
  }

  get version(): number {
    return this.#versions.at(-1) ?? 0;
  }

  get commits(): number {
    return this.#versions.length - 1;
  }

  /** An entry that is committed, in order; those that are known already are passed over. */
  take({ index, kind, payload }: Entry): void {
    if (kind !== 'command' || index <= this.version) return;
    const state = new Map(this.#states.get(this.version));
    for (const { table, id, object } of storeEntryCodec.decode(payload).changes) {
      const after = object?.[table];
      if (after === undefined) state.delete(`${table}/${id}`);
      else state.set(`${table}/${id}`, canonical({ ...after, meta: { ...after.meta, version: index } }));
    }
    this.#versions.push(index);
    this.#states.set(index, state);
  }

  /** The version of the first commit after `version`; undefined: there is none yet. */
  after(version: number): number | undefined {
    let [low, high] = [0, this.#versions.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#versions[middle] as number) <= version) low = middle + 1;
      else high = middle;
    }
    return this.#versions[low];
  }

  at(version: number): Objects | undefined {
    return this.#states.get(version);
  }

  /** Holds a member's tables and indexes against what must be there at their version; returns them as text. */
  compare(tx: ReadTransaction): string {
    const found = objectsOf(tx);
    const text = textOf(found);
    const expected = this.at(tx.version);
    if (expected === undefined) this.#fail(`store: there is no version ${tx.version}`);
    else if (textOf(expected) !== text)
      this.#fail(`store: version ${tx.version} is\n${text}\nand must be\n${textOf(expected)}`);
    for (const table of TABLE_NAMES) this.#compareIndexes(tx, table);
    for (const { spec, id } of tx.list('volume'))
      // Those of the clients: the volumes of services have no config.
      if (
        spec.labels['written'] !== undefined &&
        tx.get('config', `c-${id}` as never)?.spec.composeName !== spec.composeName
      )
        this.#fail(`store: "${id}" was written in part`);
    return `${tx.version} ${text}`;
  }

  #compareIndexes<T extends TableName>(tx: ReadTransaction, table: T): void {
    const objects = tx.list(table);
    for (const [index, keyOf] of Object.entries(TABLES[table].indexes) as [string, (object: Tables[T]) => string][]) {
      for (const key of new Set(objects.map(keyOf))) {
        const [found, expected] = [tx.find(table, index as never, key), objects.filter((one) => keyOf(one) === key)];
        const names = (list: readonly { readonly id: string }[]) =>
          list
            .map(({ id }) => id)
            .sort()
            .join();
        if (names(found) !== names(expected))
          this.#fail(`store: the index ${table}/${index} has at "${key}" ${names(found)}, not ${names(expected)}`);
      }
    }
  }
}

export function objectsOf(tx: ReadTransaction): Map<string, string> {
  return new Map(TABLE_NAMES.flatMap((table) => tx.list(table).map((one) => [`${table}/${one.id}`, canonical(one)])));
}

/** A state after a commit, and what the commit says that is not so. */
export function advance(objects: Map<string, string>, { changes }: StoreCommit): string | undefined {
  for (const { table, id, before, after } of changes) {
    const key = `${table}/${id}`;
    const known = objects.get(key);
    if ((before === undefined ? undefined : canonical(before)) !== known)
      return `${key} was ${known ?? 'not there'}, and before it is ${before === undefined ? 'nothing' : canonical(before)}`;
    if (after === undefined) objects.delete(key);
    else objects.set(key, canonical(after));
  }
  return undefined;
}

/** Tables one after another, each in order of creation. */
export function textOf(objects: Objects): string {
  return TABLE_NAMES.flatMap((table) => [...objects].filter(([key]) => key.startsWith(`${table}/`)))
    .map(([, text]) => text)
    .join('\n');
}

/**
 * The same text for equal objects, in whatever order their fields came. On the wire a list that is empty is one that is absent:
 * who proposed an object may have it without, and everybody else with.
 */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  let text = '';
  if (Array.isArray(value)) {
    for (const element of value) text += `${text === '' ? '' : ','}${canonical(element)}`;
    return `[${text}]`;
  }
  for (const name of Object.keys(value).sort()) {
    const field = (value as Readonly<Record<string, unknown>>)[name];
    if (field === undefined || (Array.isArray(field) && field.length === 0)) continue;
    text += `${text === '' ? '' : ','}${name}:${canonical(field)}`;
  }
  return `{${text}}`;
}
