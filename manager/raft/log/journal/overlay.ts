import type { HardState } from '../types.ts';
import type { JournalBatch } from './batch.ts';

/** What journalled writes change in the log's database, added up: what they would leave there, were they all done. */
export class Overlay {
  readonly entries = new Map<number, Uint8Array>();
  /** Entries of the database from here on are gone, but for those that are here. */
  truncateFrom: number | undefined;
  hardState: HardState | undefined;

  apply({ hardState, truncateFrom, entries }: JournalBatch): void {
    if (hardState !== undefined) this.hardState = hardState;
    if (truncateFrom !== undefined) {
      this.truncateFrom = Math.min(this.truncateFrom ?? Infinity, truncateFrom);
      for (const index of this.entries.keys()) if (index >= truncateFrom) this.entries.delete(index);
    }
    for (const [index, bytes] of entries) this.entries.set(index, bytes);
  }
}
