import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Raft } from '../../raft/types.ts';
import { UPKEEP_DEFAULTS, Upkeep } from '../../raft/upkeep.ts';
import type { UpkeepPolicy } from '../../raft/upkeep.ts';
import type { Store } from '../../store/types.ts';

const LOOK_EVERY_MS = 1_000;

export interface UpkeepOptions {
  readonly store: Store;
  /** On the same clock. */
  readonly raft: Raft;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Instead of the defaults and of what the cluster says. */
  readonly policy?: Partial<UpkeepPolicy>;
}

/**
 * Keeps the members of Raft those that are managers and there: takes out what a join or a removal left behind that died
 * half way, and servers that are gone; gives those their vote that keep up. Runs on the leader until `signal` aborts.
 */
export async function runUpkeepLoop(options: UpkeepOptions, signal: AbortSignal): Promise<void> {
  const { store, raft, clock } = options;
  const logger = options.logger.child({ component: 'upkeep' });
  const upkeep = new Upkeep();
  const isManager = (id: string): boolean => store.view((tx) => tx.get('node', id as NodeId)?.spec.role === 'manager');
  while (!signal.aborted) {
    await sleep(clock, LOOK_EVERY_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    // A manager that begins a cluster leads before it has written down that it is one.
    const spec = store.view((tx) => tx.list('cluster')[0]?.spec);
    if (spec === undefined) continue;
    // 0 is never.
    const voterAfterMs = spec.removeDeadManagersMs || undefined;
    const policy = { ...UPKEEP_DEFAULTS, voterAfterMs, ...options.policy };
    const step = upkeep.look(raft.status(), isManager, policy, clock.monotonic());
    if (step === undefined) continue;
    const { kind, id, reason } = step;
    try {
      await (kind === 'remove' ? raft.removeServer(id) : raft.promoteServer(id));
      logger.warn(kind === 'remove' ? 'took a server out of Raft' : 'gave a server its vote', { nodeId: id, reason });
    } catch (error) {
      // Another change may be under way, or leadership be gone: the next look sees.
      logger.debug('members not changed', { nodeId: id, change: kind, reason: messageOf(error) });
    }
  }
}
