import { backoffMs, deferred, sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { jitter } from '../../../base/random.ts';
import type { Random } from '../../../base/random.ts';
import type { EtcdClient } from './client.ts';
import type { Layout } from './keys.ts';
import type { Replica } from './replica.ts';

/** How often it is looked whether the watch still tells everything: a member cut off from the others keeps silent. */
const CHECK_MS = 2_000;

export interface FollowerOptions {
  readonly client: EtcdClient;
  readonly layout: Layout;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Keeps `replica` up with etcd until `signal` aborts: lists, watches from there on, goes on where the watch broke off, and
 * lists anew where etcd no longer has the events between.
 */
export async function follow(options: FollowerOptions, signal: AbortSignal): Promise<void> {
  const { client, layout, replica, clock, random, logger } = options;
  let mustList = replica.revision < 0;
  for (let failures = 0; !signal.aborted;) {
    try {
      if (mustList) replica.load(await client.list(layout.prefix));
      mustList = false;
      const from = replica.revision;
      const end = await watchOnce(options, signal);
      if (signal.aborted) return;
      if (end.reason === 'compacted') mustList = true;
      if (replica.revision > from) failures = 0;
      logger.warn('the watch of etcd broke off, going on', {
        reason: end.message,
        revision: replica.revision,
        lists: mustList,
      });
    } catch (error) {
      if (signal.aborted) return;
      // Events that make no sense here: what is there now may.
      mustList = true;
      logger.error('following etcd failed, trying again', { reason: messageOf(error) });
    }
    await sleep(clock, jitter(random, backoffMs(failures++, 50, 2_000), 0.3), signal).catch(() => undefined);
  }
}

interface WatchEnd {
  readonly reason: 'compacted' | 'lost';
  readonly message: string;
}

async function watchOnce({ client, layout, replica, clock }: FollowerOptions, signal: AbortSignal): Promise<WatchEnd> {
  const end = deferred<WatchEnd>();
  const life = new AbortController();
  const cancel = client.watch(layout.prefix, replica.revision + 1, {
    onEvents(events) {
      try {
        replica.apply(events);
      } catch (error) {
        end.reject(error);
      }
    },
    onProgress: (revision) => replica.progress(revision),
    onEnd: (reason, message) => end.resolve({ reason, message }),
  });
  const onAbort = (): void => end.resolve({ reason: 'lost', message: 'stopping' });
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const stale = checkFreshness().catch(() => undefined);
  try {
    return await end.promise;
  } finally {
    cancel();
    life.abort();
    signal.removeEventListener('abort', onAbort);
    await stale;
  }

  async function checkFreshness(): Promise<void> {
    for (let missed: number | undefined; !life.signal.aborted;) {
      await sleep(clock, CHECK_MS, life.signal);
      if (missed !== undefined && replica.headRevision < missed) {
        return end.resolve({ reason: 'lost', message: 'it is silent while the store goes on' });
      }
      // Without a majority nothing can be read, and nothing goes on either.
      const head = await client.get(layout.head).catch(() => undefined);
      missed = head !== undefined && head.modRevision > replica.headRevision ? head.modRevision : undefined;
    }
  }
}

/**
 * Resolves when `holds` does, which is asked after every step of the replica.
 * @throws what `signal` aborts with
 */
export async function until(replica: Replica, holds: () => boolean, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (holds()) return;
  const reached = deferred<void>();
  const stop = replica.onStep(() => {
    if (holds()) reached.resolve();
  });
  const onAbort = (): void => reached.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await reached.promise;
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}
