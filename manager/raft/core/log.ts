import type { Entry } from '../types.ts';

/** Reads entries that are on disk, synchronously; the log asks only for what it knows to be there. */
export interface StoredEntries {
  /** Entries with from <= index <= to, in order. */
  read(from: number, to: number): Iterable<Entry>;
}

/** Entries from `index` on have `term`, up to the next run. */
export interface TermRun {
  readonly index: number;
  readonly term: number;
}

/**
 * The log as the core sees it: the term of every entry, as runs, and the newest entries themselves; older ones are read
 * from disk when somebody lags behind. What is not on disk yet is always held here.
 */
export class RaftLog {
  #base: { readonly index: number; readonly term: number | undefined };
  #runs: TermRun[];
  #lastIndex: number;
  /** The entries from `lastIndex - recent.length + 1` on. */
  #recent: Entry[] = [];
  #recentBytes = 0;
  readonly #stored: StoredEntries;
  readonly #cacheBytes: number;

  /**
   * @param base the entry before the first: index, and its term where it is known
   * @param cacheBytes payload bytes kept in memory of what is on disk anyway
   */
  constructor(
    base: { readonly index: number; readonly term: number | undefined },
    runs: readonly TermRun[],
    lastIndex: number,
    stored: StoredEntries,
    cacheBytes: number,
  ) {
    this.#base = base;
    this.#runs = [...runs];
    this.#lastIndex = lastIndex;
    this.#stored = stored;
    this.#cacheBytes = cacheBytes;
  }

  get firstIndex(): number {
    return this.#base.index + 1;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.termAt(this.#lastIndex) ?? 0;
  }

  /** Undefined when the entry is compacted away or not there yet. */
  termAt(index: number): number | undefined {
    if (index > this.#lastIndex || index < this.#base.index) return undefined;
    if (index === this.#base.index) return this.#base.term;
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i];
      if (run !== undefined && run.index <= index) return run.term;
    }
    return undefined;
  }

  /** The entries must follow the last one. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.index !== this.#lastIndex + 1) throw new Error(`raft: entry ${entry.index} after ${this.#lastIndex}`);
      if (this.#runs.at(-1)?.term !== entry.term) this.#runs.push({ index: entry.index, term: entry.term });
      this.#recent.push(alone(entry));
      this.#recentBytes += entry.payload.length;
      this.#lastIndex = entry.index;
    }
  }

  /** Drops the entries from `index` on. */
  truncateFrom(index: number): void {
    const kept = Math.max(0, this.#recent.length - (this.#lastIndex - index + 1));
    for (const entry of this.#recent.splice(kept)) this.#recentBytes -= entry.payload.length;
    this.#lastIndex = index - 1;
    while ((this.#runs.at(-1)?.index ?? 0) >= index) this.#runs.pop();
  }

  /** Forgets everything: the log goes on behind a snapshot of `index`. */
  reset(index: number, term: number): void {
    this.#base = { index, term };
    this.#runs = [];
    this.#recent = [];
    this.#recentBytes = 0;
    this.#lastIndex = index;
  }

  /** Drops the entries up to `index`, which a snapshot covers. */
  compact(index: number): void {
    if (index <= this.#base.index) return;
    this.#base = { index, term: this.termAt(index) };
    const surplus = this.#recent.length - (this.#lastIndex - index);
    if (surplus > 0) for (const entry of this.#recent.splice(0, surplus)) this.#recentBytes -= entry.payload.length;
    const covering = this.#runs.findLastIndex((run) => run.index <= index + 1);
    if (covering > 0) this.#runs.splice(0, covering);
  }

  /** Lets go of entries up to `persistedIndex` as far as the cache is over its size. */
  evict(persistedIndex: number): void {
    if (this.#recentBytes <= this.#cacheBytes && this.#recent.length <= MAX_CACHED_ENTRIES) return;
    let drop = 0;
    let bytes = this.#recentBytes;
    const limit = this.#recent.length - (this.#lastIndex - persistedIndex);
    while (drop < limit && (bytes > this.#cacheBytes / 2 || this.#recent.length - drop > MAX_CACHED_ENTRIES / 2)) {
      bytes -= this.#recent[drop++]?.payload.length ?? 0;
    }
    this.#recent.splice(0, drop);
    this.#recentBytes = bytes;
  }

  /** Entries from `from` to at most `to`: at least one if there is one, and no more than fit in the limits. */
  slice(from: number, to: number, maxEntries: number, maxBytes: number): Entry[] {
    const last = Math.min(to, this.#lastIndex, from + maxEntries - 1);
    const recentFrom = this.#lastIndex - this.#recent.length + 1;
    const result: Entry[] = [];
    let bytes = 0;
    const take = (entry: Entry): boolean => {
      bytes += entry.payload.length;
      if (result.length > 0 && bytes > maxBytes) return false;
      result.push(entry);
      return true;
    };
    if (from < recentFrom) {
      for (const entry of this.#stored.read(from, Math.min(last, recentFrom - 1))) if (!take(entry)) return result;
    }
    for (let i = Math.max(from, recentFrom); i <= last; i++) {
      const entry = this.#recent[i - recentFrom];
      if (entry === undefined || !take(entry)) break;
    }
    return result;
  }

  /**
   * The largest index up to `index` whose term is at most `term`: where two logs may still agree, so that a leader finds
   * the place in one round for each term instead of one for each entry (Raft paper, end of 5.3).
   */
  lastPossibleMatch(index: number, term: number): number {
    let at = Math.min(index, this.#lastIndex);
    for (let i = this.#runs.length - 1; i >= 0 && at > this.#base.index; i--) {
      const run = this.#runs[i];
      if (run === undefined || run.index > at) continue;
      if (run.term <= term) return at;
      at = run.index - 1;
    }
    return Math.max(at, Math.min(index, this.#base.index));
  }
}

const MAX_CACHED_ENTRIES = 16_384;

/**
 * The entry with a payload in memory of its own. As it came it is a small part of a larger piece (a message of the network, Node's
 * pool of 64 KiB), all of which would stay as long as the entry.
 */
function alone(entry: Entry): Entry {
  const { payload } = entry;
  return payload.buffer.byteLength <= 2 * payload.byteLength ? entry : { ...entry, payload: new Uint8Array(payload) };
}
