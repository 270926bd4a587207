import type { ReadTransaction, TableName, WriteTransaction } from '../../store/types.ts';

/** One decision of the leader: what has to change, given what is. Pure but for the clock and randomness it was made with. */
export interface Stage {
  readonly name: string;
  /** Whether a change in that table can give it something to do. */
  readonly concerns: (table: TableName) => boolean;
  /** What to write; undefined when there is nothing to do. */
  readonly decide: (tx: ReadTransaction) => ((tx: WriteTransaction) => void) | undefined;
  /** Wall time, ms, at which it may have something to do although nothing changes; undefined: never. Asked when it is idle. */
  readonly dueAt?: (tx: ReadTransaction) => number | undefined;
}
