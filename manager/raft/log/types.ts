import type { Entry, ServerId } from '../types.ts';

/** Term and vote, which must be on disk before they are acted on. */
export interface HardState {
  readonly term: number;
  /** "" is nobody. */
  readonly votedFor: ServerId;
}

/** What one sync brings to disk, all of it or nothing. */
export interface LogBatch {
  readonly hardState?: HardState;
  /** Entries from here on are dropped first. */
  readonly truncateFrom?: number;
  readonly entries: readonly Entry[];
}

/**
 * The replicated log and the hard state of one server. A promise that resolves means: on disk, after power loss too. The
 * caller waits for one write before it starts the next.
 */
export interface LogStore {
  readonly hardState: HardState;
  /** Entries before here were dropped behind a snapshot; `lastIndex + 1` while there are none. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  write(batch: LogBatch): Promise<void>;
  /** Entries with from <= index <= to. @throws CORRUPT naming the entry */
  read(from: number, to: number): Iterable<Entry>;
  /** Drops entries up to `index`. */
  truncatePrefix(index: number): Promise<void>;
  /** Drops all entries: the next one has `index + 1`. */
  reset(index: number): Promise<void>;
  close(): Promise<void>;
}

/** A log whose entries are sealed at rest. Index, term and kind of an entry are not secret, but cannot be changed either. */
export interface SealedLogStore extends LogStore {
  /** Some entries are from before anything was sealed. */
  readonly hasPlainEntries: boolean;
  /**
   * Seals with the newest key what older ones sealed. Nothing else may write meanwhile; a crash leaves some entries as they
   * were.
   */
  reseal(): Promise<void>;
}
