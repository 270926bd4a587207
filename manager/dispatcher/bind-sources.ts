import type { Node, NodeBindSources, Task } from '../../proto/types/index.ts';
import { bindSourcesOf, wantedBindSources } from '../model/bind-sources.ts';
import type { Store, StoreChange, StoreWatch } from '../store/types.ts';

/** Paths that nobody asks for and that are remembered of a node, the newest. */
const MOST_FORMER = 100;

/** The paths of which nodes say whether they have them, and word when they are others: one watch of the store for all sessions. */
export class BindSources {
  readonly #store: Store;
  readonly #listeners = new Set<() => void>();
  #wanted: readonly string[] = [];
  #told: readonly string[] = [];
  #watch: StoreWatch | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** All of them, sorted; the same list as long as nothing changes. */
  wanted(): readonly string[] {
    const wanted = this.#store.view((tx) => wantedBindSources(tx.list('service'), tx.list('task')));
    if (wanted.join('\n') !== this.#wanted.join('\n')) this.#wanted = wanted;
    return this.#wanted;
  }

  /**
   * What a node says, as far as it was asked: it has no more room in the store.
   * @param known what it said before: what it had, and is not asked for any more, is remembered
   */
  heard(said: NodeBindSources, known: NodeBindSources | undefined): NodeBindSources {
    const wanted = new Set(this.wanted());
    const [present, missing] = [said.present, said.missing].map((paths) => paths.filter((path) => wanted.has(path)));
    const isSaid = new Set([...(present ?? []), ...(missing ?? [])]);
    const had = [...(known?.former ?? []), ...(known?.present ?? [])].filter((path) => !isSaid.has(path));
    return { present: present ?? [], missing: missing ?? [], former: [...new Set(had)].slice(-MOST_FORMER) };
  }

  /** Calls `listener` after every change, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    if (this.#watch === undefined) void this.#follow();
    return () => {
      this.#listeners.delete(listener);
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#watch?.close();
  }

  async #follow(): Promise<void> {
    for (let isFirst = true; this.#listeners.size > 0; isFirst = false) {
      const { watch } = this.#store.viewAndWatch(() => undefined);
      this.#watch = watch;
      // The last watch fell behind, or a snapshot came: a look sees what was missed.
      if (!isFirst) this.#look();
      try {
        for await (const { changes } of watch) if (changes.some(concernsPaths)) this.#look();
      } catch {
        continue;
      }
    }
    this.#watch = undefined;
  }

  #look(): void {
    const wanted = this.wanted();
    if (wanted === this.#told) return;
    this.#told = wanted;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Cheap: asked of every commit. */
function concernsPaths({ table, before, after }: StoreChange): boolean {
  if (table === 'task') return (after ?? before)?.oneOff === true && before?.nodeId !== after?.nodeId;
  return table === 'service' && (before?.spec !== after?.spec || before?.pendingDelete !== after?.pendingDelete);
}

/**
 * The node as it is after a report of a task: a container that was made has all its paths there, whatever the node has said before and may
 * be cut off from saying now. Undefined: that is known.
 * @param before the task as it was before the report
 */
export function withPathsOf(node: Node, before: Task, after: Task): Node | undefined {
  const { status } = after;
  const isNew = before.status.containerId === '' || before.status.applied?.specVersion !== status.applied?.specVersion;
  if (node.bindSources === undefined || status.containerId === '' || !isNew) return undefined;
  const { present, missing, ...rest } = node.bindSources;
  const made = bindSourcesOf(after.spec).filter((path) => !present.includes(path));
  if (made.length === 0) return undefined;
  return {
    ...node,
    bindSources: {
      ...rest,
      present: [...present, ...made].sort(),
      missing: missing.filter((path) => !made.includes(path)),
    },
  };
}
