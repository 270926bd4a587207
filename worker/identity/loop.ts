import { backoffMs, sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { renewIdentity } from './client.ts';
import type { CaClient } from './client.ts';
import type { IdentityDisk } from './disk.ts';
import { obey, renewalDelayMs, retryDelayMs, usage } from './renewal.ts';

/** Word of a rotation must not wait an hour. */
const WATCH_RETRY_MS = 1_000;
const MAX_WATCH_RETRY_MS = 60_000;
/** When the root changes, all nodes renew: not in the same instant. */
const ROTATION_SPREAD_MS = 5_000;

export interface KeepIdentityOptions {
  readonly identity: LiveIdentity;
  readonly disk: Pick<IdentityDisk, 'save'>;
  /** Asked anew at each attempt, as managers come and go. */
  readonly ca: () => CaClient;
  /** Gets another certificate for a new key; absent: {@link renewIdentity}. */
  readonly renew?: typeof renewIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface IdentityKeeper {
  /** Renews now, for instance when the role was changed. One renewal runs at a time; a second caller shares it. */
  renewNow(): Promise<void>;
  /** Why the last renewal failed; empty: it did not. */
  problem(): string;
  /** Ends both loops; resolves when they have ended. */
  close(): Promise<void>;
}

/**
 * Keeps the certificate of a node good: renews it in time, and as soon as the manager says that role or root have
 * changed. The new identity is on disk before it is used.
 */
export function keepIdentity(options: KeepIdentityOptions): IdentityKeeper {
  const { identity, disk, ca, clock, random } = options;
  const logger = options.logger.child({ component: 'identity', nodeId: identity.node.nodeId });
  const life = new AbortController();
  const { signal } = life;
  let renewing: Promise<void> | undefined;
  let problem = '';

  const renew = async (): Promise<void> => {
    const before = identity.node.role;
    const next = await (options.renew ?? renewIdentity)(ca(), identity.current, clock, signal);
    await disk.save(next);
    identity.replace(next);
    logger.info('certificate renewed', { from: before, to: identity.node.role });
  };
  const renewNow = (): Promise<void> => {
    renewing ??= renew()
      .then(
        () => void (problem = ''),
        (error: unknown) => {
          problem = messageOf(error);
          throw error;
        },
      )
      .finally(() => (renewing = undefined));
    return renewing;
  };

  const renewInTime = async (): Promise<void> => {
    for (let attempt = 0; !signal.aborted;) {
      const replaced = new AbortController();
      const stop = identity.onReplace(() => replaced.abort());
      const delay =
        attempt === 0
          ? renewalDelayMs(identity.current.certificate, clock.now(), random)
          : retryDelayMs(identity.current.certificate, clock.now(), attempt);
      const slept = await sleep(clock, delay, AbortSignal.any([signal, replaced.signal])).then(
        () => true,
        () => false,
      );
      stop();
      if (!slept) {
        attempt = 0;
        continue;
      }
      try {
        await renewNow();
        attempt = 0;
      } catch (error) {
        if (!signal.aborted)
          logger.warn('certificate not renewed, trying again', { reason: messageOf(error), attempt });
        attempt++;
      }
    }
  };

  /** Does what one notice asks; whether anything has changed, so that the manager is told. */
  const act = async (notice: Parameters<typeof obey>[1]): Promise<boolean> => {
    const { renew: reason, roots } = obey(identity.current, notice, clock.now());
    if (reason !== undefined) {
      if (reason === 'issuer') await sleep(clock, random.next() * ROTATION_SPREAD_MS, signal);
      await renewNow();
      return true;
    }
    if (!roots) return false;
    const next = { ...identity.current, roots: notice.roots };
    await disk.save(next);
    identity.replace(next);
    logger.info('trusted roots changed');
    return true;
  };

  const followNotices = async (): Promise<void> => {
    for (let attempt = 0; !signal.aborted;) {
      let changed = false;
      // Renewed by itself meanwhile: the manager is told what is used now, and a rotation may wait for just that.
      const replaced = new AbortController();
      const stop = identity.onReplace(() => replaced.abort(new Error('there is another certificate')));
      const until = AbortSignal.any([signal, replaced.signal]);
      try {
        for await (const notice of ca().watchIdentity(usage(identity.current, clock.now()), until)) {
          changed = await act(notice);
          attempt = 0;
          if (changed) break;
        }
      } catch (error) {
        if (!until.aborted) logger.debug('no word of the CA', { reason: messageOf(error) });
      } finally {
        stop();
      }
      if (changed || replaced.signal.aborted) continue;
      await sleep(clock, backoffMs(attempt++, WATCH_RETRY_MS, MAX_WATCH_RETRY_MS), signal).catch(() => undefined);
    }
  };

  const loops = Promise.all([renewInTime(), followNotices()]);
  return {
    renewNow,
    problem: () => problem,
    async close() {
      life.abort(new Error('the identity is no longer kept'));
      await loops;
    },
  };
}
