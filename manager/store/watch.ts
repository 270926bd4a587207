import { TsswarmError } from '../../base/errors.ts';
import type { StoreCommit, StoreWatch } from './types.ts';

/** Commits that a watcher may lag behind before it is cut off. */
const LONGEST_QUEUE = 10_000;

/** Commits, and changes in them, that are kept for watchers that come back: each change holds two versions of an object in memory. */
const KEPT_COMMITS = 1_000;
const KEPT_CHANGES = 1_000;

/** Hands every commit to every watcher, in order; a slow watcher never holds anybody up. */
export class WatchHub {
  readonly #watchers = new Set<Watcher>();
  #kept: StoreCommit[] = [];
  #keptChanges = 0;
  /** No commit after this version is missing among the kept ones; undefined while none came. */
  #floor: number | undefined;

  /** @param before version of the commit before it: nothing is missing in between */
  publish(commit: StoreCommit, before = commit.version - 1): void {
    this.#floor ??= before;
    this.#kept.push(commit);
    this.#keptChanges += commit.changes.length;
    while (this.#kept.length > KEPT_COMMITS || this.#keptChanges > KEPT_CHANGES) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#keptChanges -= oldest.changes.length;
      this.#floor = oldest.version;
    }
    for (const watcher of this.#watchers) watcher.push(commit);
  }

  /**
   * Hands out what several commits that were missed come to. Watchers here see each change once; nobody who stopped in
   * between can go on over it.
   */
  jump(commit: StoreCommit): void {
    this.#kept = [];
    this.#keptChanges = 0;
    this.#floor = commit.version;
    for (const watcher of this.#watchers) watcher.push(commit);
  }

  open(): Watcher {
    const watcher = new Watcher(() => this.#watchers.delete(watcher));
    this.#watchers.add(watcher);
    return watcher;
  }

  /**
   * Watches what came after version `after`, then what comes.
   * @param current version of the state that readers see now
   * @throws UNAVAILABLE when `after` is older than the kept commits, or newer than `current`
   */
  resume(after: number, current: number): StoreWatch {
    if (after > current) throw cannotResume(after, `version ${current} is the newest here`);
    if (after < current && (this.#floor === undefined || after < this.#floor)) {
      throw cannotResume(after, 'the commits after it are no longer kept');
    }
    const watcher = this.open();
    for (const commit of this.#kept) if (commit.version > after) watcher.push(commit);
    return watcher;
  }

  /** Ends all watches, with an error when one is given, and forgets the kept commits: others may come between. */
  close(error?: Error): void {
    this.#kept = [];
    this.#keptChanges = 0;
    this.#floor = undefined;
    for (const watcher of this.#watchers) watcher.end(error);
  }
}

class Watcher implements StoreWatch {
  #queue: StoreCommit[] = [];
  #ended = false;
  #error: Error | undefined;
  #wake: () => void = () => undefined;
  readonly #forget: () => void;

  constructor(forget: () => void) {
    this.#forget = forget;
  }

  push(commit: StoreCommit): void {
    if (this.#queue.length >= LONGEST_QUEUE) {
      this.#queue = [];
      this.end(
        new TsswarmError('UNAVAILABLE', 'watching the store: the watcher fell too far behind; read and watch again'),
      );
      return;
    }
    this.#queue.push(commit);
    this.#wake();
  }

  end(error?: Error): void {
    this.#ended = true;
    this.#error ??= error;
    this.#forget();
    this.#wake();
  }

  close(): void {
    this.#queue = [];
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<StoreCommit> {
    try {
      for (;;) {
        const commits = this.#queue;
        this.#queue = [];
        for (const commit of commits) yield commit;
        if (this.#queue.length > 0) continue;
        if (this.#error !== undefined) throw this.#error;
        if (this.#ended) return;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.close();
    }
  }
}

function cannotResume(after: number, why: string): TsswarmError {
  return new TsswarmError('UNAVAILABLE', `watching the store from version "${after}": ${why}; read and watch again`);
}
