import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { StoreCommit, Store } from '../store/types.ts';

/** Told when the store has something new for a node; with an error when nothing more will come. */
type Listener = (error?: Error) => void;

/**
 * One watch of the store for all nodes that wait for word of the CA: thousands of watches of their own would each be
 * handed every commit.
 */
export class NoticeFeed {
  readonly #store: Store;
  readonly #listeners = new Map<NodeId, Set<Listener>>();
  #watch: ReturnType<Store['viewAndWatch']>['watch'] | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @returns what ends it */
  listen(nodeId: NodeId, listener: Listener): () => void {
    const mine = this.#listeners.get(nodeId) ?? new Set();
    this.#listeners.set(nodeId, mine.add(listener));
    if (this.#watch === undefined) void this.#run();
    return () => {
      mine.delete(listener);
      if (mine.size === 0 && this.#listeners.get(nodeId) === mine) this.#listeners.delete(nodeId);
      if (this.#listeners.size > 0) return;
      this.#watch?.close();
      this.#watch = undefined;
    };
  }

  async #run(): Promise<void> {
    const { watch } = this.#store.viewAndWatch(() => undefined);
    this.#watch = watch;
    let failure: unknown;
    try {
      for await (const commit of watch) this.#tell(commit);
    } catch (error) {
      failure = error;
    }
    // Closed because nobody listened any more; who has come since listens to another watch.
    if (this.#watch !== watch) return;
    this.#watch = undefined;
    const ended = new TsswarmError('UNAVAILABLE', 'watching the CA: the store is closed or changes too fast', {
      cause: failure,
    });
    for (const listener of this.#all()) listener(ended);
  }

  #tell({ changes }: StoreCommit): void {
    if (changes.some(({ table }) => table === 'cluster')) {
      for (const listener of this.#all()) listener();
      return;
    }
    for (const { table, id } of changes) {
      if (table !== 'node') continue;
      for (const listener of [...(this.#listeners.get(id) ?? [])]) listener();
    }
  }

  #all(): readonly Listener[] {
    return [...this.#listeners.values()].flatMap((set) => [...set]);
  }
}
