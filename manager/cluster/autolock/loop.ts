import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import { runLevelTriggered } from '../../model/level-triggered/loop.ts';
import { keyIdOf, parseUnlockKey } from '../../raft/seal/index.ts';
import type { Vault } from '../../raft/seal/index.ts';
import type { Store } from '../../store/types.ts';

export interface AutolockOptions {
  readonly store: Store;
  readonly vault: Vault;
  /** Seals with the newest key everything that this node has sealed. */
  readonly reseal: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps the keys of a manager locked as its cluster says, on every manager, until `signal` aborts: with a new unlock key (or
 * none) comes a new data-encryption key, everything is sealed with that, and the old keys are forgotten.
 */
export function followAutolock(options: AutolockOptions, signal: AbortSignal): Promise<void> {
  const { store, vault, reseal, clock } = options;
  const logger = options.logger.child({ component: 'autolock' });
  return runLevelTriggered({
    store,
    clock,
    logger,
    signal,
    concerns: (table) => table === 'cluster',
    turn: async () => {
      const cluster = store.view((tx) => tx.list('cluster')[0]);
      // A manager that joins has no state yet; one that starts sees states of the past first.
      if (cluster !== undefined && cluster.meta.version > vault.lockIndex) {
        const kek = cluster.unlockKey === undefined ? undefined : parseUnlockKey(cluster.unlockKey);
        const wanted = kek === undefined ? undefined : keyIdOf(kek);
        if (wanted !== vault.lockedBy) {
          vault.relock(kek, cluster.meta.version);
          logger.info(kek === undefined ? 'keys lie open' : 'keys are locked', { by: wanted ?? '' });
        }
      }
      // Also what a crash has left undone.
      if (vault.hasOldKeys) {
        await reseal();
        vault.dropOldKeys();
      }
      return false;
    },
  });
}
