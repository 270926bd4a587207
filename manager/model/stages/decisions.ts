import { isTsswarmError } from '../../../base/errors.ts';
import type { Clock } from '../../../base/clock.ts';
import type { Store, WriteTransaction } from '../../store/types.ts';
import type { Stage } from './stage.ts';

/** Where a look takes longer, what has been heard meanwhile is looked at together, by the leader's own loop. */
const QUICK_LOOK_MS = 20;
/** So many transactions are left alone after a look that took longer, before it is tried again. */
const LEFT_ALONE = 20;

/**
 * What the leader decides, in the transactions of others: what follows from a request or a report is in the same write to the disks of
 * the managers. What is not decided here (nobody leads yet, it takes too long, it does not fit) the leader's loop decides a moment later.
 */
export class Decisions {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #stages: readonly Stage[] = [];
  #leftAlone = 0;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** The stages of this manager while it leads; none: it does not. */
  use(stages: readonly Stage[]): void {
    this.#stages = stages;
    this.#leftAlone = 0;
  }

  /**
   * A transaction with what follows from it.
   * @param concerns whether something can follow from what `write` has returned; absent: it can
   * @throws what `write` and the store throw
   */
  async update<R>(
    store: Pick<Store, 'update'>,
    write: (tx: WriteTransaction) => R,
    concerns: (result: R) => boolean = () => true,
  ): Promise<R> {
    try {
      return await store.update((tx) => {
        const result = write(tx);
        if (concerns(result)) this.#decide(tx);
        return result;
      });
    } catch (error) {
      if (!isTsswarmError(error, 'TOO_LARGE')) throw error;
      return store.update(write);
    }
  }

  /** A store whose transactions are such. */
  within(store: Store): Store {
    return {
      view: (read) => store.view(read),
      viewAndWatch: (read) => store.viewAndWatch(read),
      update: (write) => this.update(store, write),
    };
  }

  #decide(tx: WriteTransaction): void {
    if (this.#leftAlone > 0) {
      this.#leftAlone--;
      return;
    }
    const began = this.#clock.monotonic();
    for (const stage of this.#stages) decided(stage, tx)?.(tx);
    if (this.#clock.monotonic() - began > QUICK_LOOK_MS) this.#leftAlone = LEFT_ALONE;
  }
}

/** What goes wrong is told by the leader's loop, which looks next: what was asked for is not lost for it. */
function decided(stage: Stage, tx: WriteTransaction): ReturnType<Stage['decide']> {
  try {
    return stage.decide(tx);
  } catch {
    return undefined;
  }
}
