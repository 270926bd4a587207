import { TsswarmError } from '../../base/errors.ts';
import { TABLES } from './tables.ts';
import type { KeysOf } from './tables.ts';
import type { Indexes, ReadTransaction, StoreChange, TableName, Tables, WriteTransaction } from './types.ts';

type AnyObject = Tables[TableName];

/**
 * Changes on top of a base state, not yet committed. Reads see them; the base does not. Transactions stack: the base of
 * one may be another that is still on its way to disk.
 */
export class Overlay implements WriteTransaction {
  readonly #base: ReadTransaction;
  readonly #changes = new Map<
    string,
    { table: TableName; id: string; before: AnyObject | undefined; after: AnyObject | undefined }
  >();

  constructor(base: ReadTransaction) {
    this.#base = base;
  }

  get version(): number {
    return this.#base.version;
  }

  get<T extends TableName>(table: T, id: Tables[T]['id']): Tables[T] | undefined {
    const change = this.#changes.get(`${table}/${id}`);
    return change === undefined ? this.#base.get(table, id) : (change.after as Tables[T] | undefined);
  }

  list<T extends TableName>(table: T): readonly Tables[T][] {
    return this.#merge(table, this.#base.list(table), () => true);
  }

  find<T extends TableName>(table: T, index: Indexes[T], key: string): readonly Tables[T][] {
    const keysOf = (TABLES[table].indexes as Record<string, KeysOf<T>>)[index];
    return this.#merge(table, this.#base.find(table, index, key), (object) => {
      const keys = keysOf?.(object);
      return typeof keys === 'string' ? keys === key : (keys?.includes(key) ?? false);
    });
  }

  create<T extends TableName>(table: T, object: Tables[T]): void {
    if (this.get(table, object.id) !== undefined) {
      throw new TsswarmError('ALREADY_EXISTS', `creating ${table} "${object.id}": the id is taken`);
    }
    this.#refuseTakenName(table, object);
    this.#put(table, object.id, object);
  }

  update<T extends TableName>(table: T, object: Tables[T]): void {
    const known = this.get(table, object.id);
    if (known === undefined) throw new TsswarmError('NOT_FOUND', `updating ${table} "${object.id}": no such ${table}`);
    if (known.meta.version !== object.meta.version) {
      throw new TsswarmError('CONFLICT', `updating ${table} "${object.id}": it changed meanwhile`);
    }
    this.#refuseTakenName(table, object);
    this.#put(table, object.id, object);
  }

  remove<T extends TableName>(table: T, id: Tables[T]['id']): void {
    if (this.get(table, id) === undefined)
      throw new TsswarmError('NOT_FOUND', `removing ${table} "${id}": no such ${table}`);
    this.#put(table, id, undefined);
  }

  /** Takes over what another one on top of this has changed. */
  absorb(changes: readonly StoreChange[]): void {
    for (const { table, id, after } of changes) this.#put(table, id, after);
  }

  /**
   * What was changed, in order, with the store's own fields filled in; creations that were removed again are left out.
   * @param version the Raft index that the transaction will have
   * @param time wall time of the proposal, ms
   */
  changes(version: number, time: number): readonly StoreChange[] {
    const changes: StoreChange[] = [];
    for (const { table, id, before, after } of this.#changes.values()) {
      if (before === undefined && after === undefined) continue;
      const createdAt = before?.meta.createdAt ?? time;
      const stored =
        after === undefined ? undefined : Object.freeze({ ...after, meta: { version, createdAt, updatedAt: time } });
      changes.push({ table, id, before, after: stored } as StoreChange);
    }
    return changes;
  }

  #put(table: TableName, id: string, after: AnyObject | undefined): void {
    const key = `${table}/${id}`;
    const known = this.#changes.get(key);
    if (known !== undefined) known.after = after;
    else this.#changes.set(key, { table, id, before: this.#base.get(table, id as never), after });
  }

  #refuseTakenName<T extends TableName>(table: T, object: Tables[T]): void {
    const nameOf = TABLES[table].uniqueName as ((object: Tables[T]) => string) | undefined;
    if (nameOf === undefined) return;
    const name = nameOf(object);
    const rival = this.find(table, 'name' as Indexes[T], name).find(({ id }) => id !== object.id);
    if (rival !== undefined) throw new TsswarmError('ALREADY_EXISTS', `storing ${table} "${name}": the name is taken`);
  }

  #merge<T extends TableName>(
    table: T,
    base: readonly Tables[T][],
    fits: (object: Tables[T]) => boolean,
  ): readonly Tables[T][] {
    const changed = new Map<string, Tables[T] | undefined>();
    for (const change of this.#changes.values()) {
      if (change.table !== table) continue;
      const after = change.after as Tables[T] | undefined;
      changed.set(change.id, after !== undefined && fits(after) ? after : undefined);
    }
    if (changed.size === 0) return base;
    const merged: Tables[T][] = [];
    for (const object of base) {
      if (!changed.has(object.id)) {
        merged.push(object);
        continue;
      }
      const after = changed.get(object.id);
      if (after !== undefined) merged.push(after);
      changed.delete(object.id);
    }
    for (const after of changed.values()) if (after !== undefined) merged.push(after);
    return merged;
  }
}
