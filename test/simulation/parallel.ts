import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ProfileName } from './profile.ts';
import type { Outcome } from './simulate.ts';

export interface Run {
  readonly seed: number;
  readonly profile: ProfileName;
}

/**
 * Simulates seeds, as many at a time as the machine has cores: each has a thread for itself, and what happens in it does not depend on the
 * others.
 * @returns the outcomes as they are done; who stops listening ends the threads
 */
export async function* simulateAll(runs: Iterable<Run>, threads = availableParallelism()): AsyncGenerator<Outcome> {
  const queue = runs[Symbol.iterator]();
  const workers = Array.from({ length: threads }, () => new Worker(new URL('./worker.ts', import.meta.url)));
  const pending = new Map<Worker, Promise<readonly [Worker, Outcome]>>();
  const give = (worker: Worker): void => {
    const next = queue.next();
    pending.delete(worker);
    if (next.done === true) return;
    // Rejects when the thread ends with an error.
    const answer = once(worker, 'message').then(([outcome]) => [worker, outcome as Outcome] as const);
    pending.set(worker, answer);
    worker.postMessage(next.value);
  };
  try {
    for (const worker of workers) give(worker);
    while (pending.size > 0) {
      const [worker, outcome] = await Promise.race(pending.values());
      give(worker);
      yield outcome;
    }
  } finally {
    // Those still at work are not waited for.
    for (const answer of pending.values()) answer.catch(() => undefined);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
