import { backoffMs, sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Store } from '../store/types.ts';
import { finishedRotation } from './rotation.ts';

const RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;

export interface CaLoopOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Ends a rotation of the CA once every node uses the new root. Runs on the leader until `signal` aborts. */
export async function runCaLoop({ store, clock, random, logger }: CaLoopOptions, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !signal.aborted;) {
    const { watch } = store.viewAndWatch(() => undefined);
    const close = (): void => watch.close();
    signal.addEventListener('abort', close, { once: true });
    try {
      await finish(store, random, logger);
      attempt = 0;
      for await (const { changes } of watch) {
        if (signal.aborted) return;
        if (changes.some(({ table }) => table === 'node' || table === 'cluster')) await finish(store, random, logger);
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.warn('the CA loop begins again', { component: 'ca', reason: messageOf(error) });
    } finally {
      signal.removeEventListener('abort', close);
      watch.close();
    }
    await sleep(clock, backoffMs(attempt++, RETRY_MS, MAX_RETRY_MS), signal).catch(() => undefined);
  }
}

async function finish(store: Store, random: Random, logger: Logger): Promise<void> {
  // Most commits have nothing to do with it: look before writing.
  if (store.view((tx) => tx.list('cluster')[0]?.caRotation) === undefined) return;
  const done = await store.update((tx) => {
    const cluster = tx.list('cluster')[0];
    const next = cluster === undefined ? undefined : finishedRotation(cluster, tx.list('node'), random);
    if (next !== undefined) tx.update('cluster', next);
    return next !== undefined;
  });
  if (done) logger.info('the CA is rotated: the old root is no longer trusted', { component: 'ca' });
}
