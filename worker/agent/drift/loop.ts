import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { jitter } from '../../../base/random.ts';
import type { Random } from '../../../base/random.ts';
import type { Drift } from '../../../proto/types/index.ts';

/** How often every container is looked at, about: a tenth more or less, so that nodes that were started together do not stay so. */
export const LOOK_EVERY_MS = 60_000;
const SPREAD = 0.1;
/** Between two containers, so that a node with hundreds of them looks without anybody noticing. */
const PAUSE_MS = 20;

/** A container that can be looked at. */
export interface Watched {
  look(): Promise<readonly Drift[]>;
}

export interface DriftWatch {
  /** Everything is known that a look needs: the first round begins. */
  begin(): void;
  /** Looks now, one after the other. @param taskIds of this node; others are left out */
  look(taskIds: readonly string[]): Promise<ReadonlyMap<string, readonly Drift[]>>;
  close(): void;
}

/**
 * Looks at every container of a node, one after the other, again and again.
 * @param watched those that there are now
 * @param shared looks at what they share, and repairs it: before each round, as they can be repaired only then
 */
export function watchDrift(
  watched: () => ReadonlyMap<string, Watched>,
  shared: () => Promise<void>,
  { clock, random, logger }: { readonly clock: Clock; readonly random: Random; readonly logger: Logger },
): DriftWatch {
  const life = new AbortController();
  let isRunning = false;

  const lookAtShared = async (): Promise<void> => {
    try {
      await shared();
    } catch (error) {
      logger.warn('what containers share cannot be looked at', { reason: messageOf(error) });
    }
  };
  const lookAt = async (taskId: string): Promise<readonly Drift[]> => {
    try {
      return (await watched().get(taskId)?.look()) ?? [];
    } catch (error) {
      logger.warn('a container cannot be looked at', { taskId, reason: messageOf(error) });
      return [];
    }
  };

  const rounds = async (): Promise<void> => {
    for (;;) {
      await lookAtShared();
      for (const taskId of [...watched().keys()]) {
        await lookAt(taskId);
        await sleep(clock, PAUSE_MS, life.signal);
      }
      await sleep(clock, jitter(random, LOOK_EVERY_MS, SPREAD), life.signal);
    }
  };

  return {
    begin() {
      if (isRunning || life.signal.aborted) return;
      isRunning = true;
      rounds().catch((error: unknown) => {
        if (!life.signal.aborted) logger.error('containers are not looked at any more', { reason: messageOf(error) });
      });
    },
    async look(taskIds) {
      const found = new Map<string, readonly Drift[]>();
      await lookAtShared();
      for (const taskId of taskIds) if (watched().has(taskId)) found.set(taskId, await lookAt(taskId));
      return found;
    },
    close: () => life.abort(new Error('the agent ends')),
  };
}
