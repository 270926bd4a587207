import type { StoreEntryChange } from '../../proto/codec/store.ts';
import type { ReadTransaction, StoreChange, TableName, Tables } from './types.ts';

/** A transaction's encoded size, bytes. A project with several secrets of 500 KiB is one: above swarmkit's 1.5 MiB. */
export const MAX_TRANSACTION_BYTES = 16 * 1024 * 1024;

/** A change as it is written down: whole objects, so that applying needs no logic. */
export function toWire({ table, id, before, after }: StoreChange): StoreEntryChange {
  if (after === undefined) return { action: 'remove', table, id };
  return { action: before === undefined ? 'create' : 'update', table, id, object: { [table]: after } };
}

/** Changes that were written down, as commit `version` on top of `base`. */
export function fromWire(
  changes: readonly StoreEntryChange[],
  version: number,
  base: Pick<ReadTransaction, 'get'>,
): readonly StoreChange[] {
  return changes.map(({ table, id, object }) => {
    const after = object?.[table];
    const before = base.get(table, id as never);
    return { table, id, before, after: after === undefined ? undefined : stamped(after, version) } as StoreChange;
  });
}

/** The object as it is kept: frozen, of this version. */
export function stamped<T extends TableName>(object: Tables[T], version: number): Tables[T] {
  return Object.freeze({ ...object, meta: { ...object.meta, version } }) as Tables[T];
}
