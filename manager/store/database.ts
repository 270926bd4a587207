import { TABLES, TABLE_NAMES } from './tables.ts';
import type { ReadTransaction, StoreChange, TableName, Tables } from './types.ts';

type AnyObject = Tables[TableName];
type Keys = string | readonly string[];
const NO_KEYS: readonly string[] = [];

/** One table: objects by id in order of creation, and for each index the ids by key. */
interface Table {
  readonly objects: Map<string, AnyObject>;
  /** All of them, since they were asked for last; undefined: they have changed. */
  list: readonly AnyObject[] | undefined;
  readonly indexes: Map<string, Map<string, Set<string>>>;
}

/**
 * All objects in memory, changed only by committed changes. Reads are synchronous and see one state; objects are frozen,
 * so what a reader holds never changes under it.
 */
export class Database implements ReadTransaction {
  #version = 0;
  readonly #tables: { readonly [T in TableName]: Table };

  constructor() {
    const empty = (name: TableName): Table => ({
      objects: new Map(),
      list: undefined,
      indexes: new Map(Object.keys(TABLES[name].indexes).map((index) => [index, new Map()])),
    });
    this.#tables = Object.fromEntries(TABLE_NAMES.map((name) => [name, empty(name)])) as never;
  }

  get version(): number {
    return this.#version;
  }

  get<T extends TableName>(table: T, id: Tables[T]['id']): Tables[T] | undefined {
    return this.#tables[table].objects.get(id) as Tables[T] | undefined;
  }

  list<T extends TableName>(table: T): readonly Tables[T][] {
    const store: Table = this.#tables[table];
    store.list ??= [...store.objects.values()];
    return store.list as unknown as readonly Tables[T][];
  }

  find<T extends TableName>(table: T, index: string, key: string): readonly Tables[T][] {
    const { objects, indexes } = this.#tables[table];
    const ids = indexes.get(index)?.get(key);
    return ids === undefined ? [] : ([...ids].map((id) => objects.get(id)) as unknown as readonly Tables[T][]);
  }

  /** A copy that changes on its own; the objects, which are frozen, are shared. */
  clone(): Database {
    const copy = new Database();
    copy.#version = this.#version;
    for (const name of TABLE_NAMES) {
      const { objects, indexes } = copy.#tables[name];
      for (const [id, object] of this.#tables[name].objects) objects.set(id, object);
      for (const [index, keys] of this.#tables[name].indexes) {
        indexes.set(index, new Map([...keys].map(([key, ids]) => [key, new Set(ids)])));
      }
    }
    return copy;
  }

  /** Takes over a committed transaction. */
  apply(version: number, changes: readonly StoreChange[]): void {
    this.#version = version;
    for (const { table, id, after } of changes) {
      const store: Table = this.#tables[table];
      store.list = undefined;
      const before = store.objects.get(id);
      if (after === undefined) store.objects.delete(id);
      else store.objects.set(id, after);
      for (const [index, keys] of store.indexes) {
        const keysOf = (TABLES[table].indexes as unknown as Record<string, (object: AnyObject) => Keys>)[index];
        const old = before === undefined ? NO_KEYS : (keysOf?.(before) ?? NO_KEYS);
        const now = after === undefined ? NO_KEYS : (keysOf?.(after) ?? NO_KEYS);
        if (old === now) continue;
        const left = typeof now === 'string' ? [now] : now;
        const had = typeof old === 'string' ? [old] : old;
        for (const key of had) {
          if (left.includes(key)) continue;
          const ids = keys.get(key);
          ids?.delete(id);
          if (ids?.size === 0) keys.delete(key);
        }
        for (const key of left) {
          if (had.includes(key)) continue;
          const ids = keys.get(key);
          if (ids === undefined) keys.set(key, new Set([id]));
          else ids.add(id);
        }
      }
    }
  }
}
