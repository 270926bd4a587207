import { existsSync, rmSync } from 'node:fs';
import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { systemClock } from '../../base/clock.ts';
import { openLog } from '../../manager/raft/log/disk.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { isOnEtcd } from './back-ends/access-file.ts';
import type { Manager } from './manager.ts';

const RETRY_MS = 1_000;

export interface RoleOptions {
  readonly identity: LiveIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Makes the node a manager. */
  readonly begin: () => Promise<void>;
  /** Makes it a worker. */
  readonly end: () => Promise<void>;
}

/** Makes the node what its certificate says, whenever a new one says something else, until `signal` aborts. */
export async function followRole({ identity, clock, logger, signal, begin, end }: RoleOptions): Promise<void> {
  let role = identity.node.role;
  while (!signal.aborted) {
    if (identity.node.role === role) {
      await replaced(identity, signal);
      continue;
    }
    const next = identity.node.role;
    try {
      await (next === 'manager' ? begin() : end());
      role = next;
      logger.info('role changed', { role });
    } catch (error) {
      logger.error('role not changed, trying again', { role: next, reason: messageOf(error) });
      await sleep(clock, RETRY_MS, signal).catch(() => undefined);
    }
  }
}

function replaced(identity: LiveIdentity, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const stop = identity.onReplace(done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/**
 * Takes the cluster's state from a node that is no manager any more: the keys of the cluster are in it. Its vote stays: the
 * node may become a manager again under the same id, and nobody may vote twice in a term.
 */
export async function eraseManager(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  if (isOnEtcd(dir)) return rmSync(dir, { recursive: true, force: true });
  const before = openLog(dir, systemClock);
  const { term } = before.hardState;
  await before.close();
  rmSync(dir, { recursive: true, force: true });
  const after = openLog(dir, systemClock);
  await after.write({ hardState: { term, votedFor: 'nobody: left Raft' }, entries: [] });
  await after.close();
}

/** A leader that stops hands over first: nobody has to wait for an election timeout. */
export async function handOver(manager: Manager | undefined, logger: Logger): Promise<void> {
  if (manager === undefined) return;
  const { group, leadership } = manager.backEnd;
  const { leaderId, members } = group.status();
  const others = members.filter(({ id, voter, reachable }) => voter && reachable && id !== leaderId);
  if (!leadership.status().ready || others.length === 0) return;
  await group.handOver().catch((error: unknown) => logger.warn('not handed over', { reason: messageOf(error) }));
}
