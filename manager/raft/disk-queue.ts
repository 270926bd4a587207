import type { HardState, LogBatch, LogStore } from './log/types.ts';
import type { Entry, RaftMessage, Server } from './types.ts';

/** One thing for the disk, or a message that must not leave before everything queued ahead of it is on disk. */
export type DiskTask =
  | ({ readonly kind: 'hard-state' } & HardState)
  | { readonly kind: 'append'; readonly entries: readonly Entry[]; readonly sequence: number }
  | { readonly kind: 'truncate'; readonly from: number; readonly sequence: number }
  | { readonly kind: 'send'; readonly to: Server; readonly message: RaftMessage }
  /** Something that takes more than one write; nothing else touches the disk meanwhile. */
  | { readonly kind: 'run'; readonly work: () => Promise<void> };

/** What the queue tells. */
export interface DiskListener {
  /** The hard state of this term is on disk. */
  hardStatePersisted(term: number): void;
  /** Appends and truncations up to this number are on disk. */
  persisted(sequence: number): void;
  send(to: Server, message: RaftMessage): void;
  /** Calls `work` when everything that belongs into one sync has been pushed. */
  afterTurn(work: () => void): void;
  /** The disk failed. A failed sync is never tried again: the kernel may have dropped the pages (fsync errors are final). */
  failed(cause: unknown): void;
}

/**
 * Everything that goes to a server's disk, in order. What piles up while the disk works is written with one sync: under load
 * that makes one sync for many proposals, at rest one for each.
 */
export class DiskQueue {
  readonly #log: LogStore;
  readonly #listener: DiskListener;
  #tasks: DiskTask[] = [];
  #active = false;
  #running: Promise<void> = Promise.resolve();

  constructor(log: LogStore, listener: DiskListener) {
    this.#log = log;
    this.#listener = listener;
  }

  push(task: DiskTask): void {
    // With nothing ahead of it a message need not wait for a turn.
    if (task.kind === 'send' && !this.#active) return this.#listener.send(task.to, task.message);
    this.#tasks.push(task);
    if (this.#active) return;
    this.#active = true;
    this.#running = new Promise<void>((resolve) => this.#listener.afterTurn(resolve)).then(() => this.#run());
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    while (this.#active) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#tasks.length > 0) {
        const tasks = this.#tasks;
        const alone = tasks.findIndex(({ kind }) => kind === 'run');
        const first = tasks[0];
        if (first?.kind === 'run') {
          this.#tasks = tasks.slice(1);
          await first.work();
          continue;
        }
        this.#tasks = alone < 0 ? [] : tasks.slice(alone);
        await this.#write(alone < 0 ? tasks : tasks.slice(0, alone));
      }
    } catch (cause) {
      this.#tasks = [];
      this.#listener.failed(cause);
    }
    this.#active = false;
  }

  async #write(tasks: readonly DiskTask[]): Promise<void> {
    const batch = fold(tasks);
    if (batch !== undefined) await this.#log.write(batch);
    let sequence = 0;
    for (const task of tasks) if (task.kind === 'append' || task.kind === 'truncate') sequence = task.sequence;
    if (batch?.hardState !== undefined) this.#listener.hardStatePersisted(batch.hardState.term);
    if (sequence > 0) this.#listener.persisted(sequence);
    for (const task of tasks) if (task.kind === 'send') this.#listener.send(task.to, task.message);
  }
}

/** One write for several tasks: the last hard state, and the entries that are left when truncations have had their say. */
export function fold(tasks: readonly DiskTask[]): LogBatch | undefined {
  let hardState: HardState | undefined;
  let truncateFrom: number | undefined;
  let entries: Entry[] = [];
  for (const task of tasks) {
    if (task.kind === 'hard-state') hardState = { term: task.term, votedFor: task.votedFor };
    else if (task.kind === 'append') entries.push(...task.entries);
    else if (task.kind === 'truncate') {
      entries = entries.filter(({ index }) => index < task.from);
      truncateFrom = Math.min(truncateFrom ?? Infinity, task.from);
    }
  }
  if (hardState === undefined && truncateFrom === undefined && entries.length === 0) return undefined;
  return {
    ...(hardState === undefined ? {} : { hardState }),
    ...(truncateFrom === undefined ? {} : { truncateFrom }),
    entries,
  };
}
