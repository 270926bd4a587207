import { TsswarmError } from '../../base/errors.ts';
import type { StoreCommit, StoreWatch } from './types.ts';

/** Commits that a watcher may lag behind before it is cut off. */
const LONGEST_QUEUE = 10_000;

/** Hands every commit to every watcher, in order; a slow watcher never holds anybody up. */
export class WatchHub {
  readonly #watchers = new Set<Watcher>();

  publish(commit: StoreCommit): void {
    for (const watcher of this.#watchers) watcher.push(commit);
  }

  open(): StoreWatch {
    const watcher = new Watcher(() => this.#watchers.delete(watcher));
    this.#watchers.add(watcher);
    return watcher;
  }

  /** Ends all watches, with an error when one is given. */
  close(error?: Error): void {
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
