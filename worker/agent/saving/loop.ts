import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { AgentDisk, AgentState } from '../disk.ts';

/**
 * The state is written whole, so changes are gathered first. What a crash takes of it, the engine's own records and the manager
 * have: the file is there for a start without a manager.
 */
const SAVE_AFTER_MS = 25;
/** Many tasks take long to write, and a write stops everything else: it is made that seldom, a share of one in twenty at most. */
const SAVE_REST = 20;
const LONGEST_SAVE_REST_MS = 1000;

/** Writes what the agent keeps over a restart. */
export interface Saving {
  /** Writes once changes have gathered. */
  soon(): void;
  /** Writes now. @throws what the disk throws */
  now(): void;
}

/** @param state as it is to be written */
export function createSaving(
  state: () => AgentState,
  { disk, clock, logger }: { readonly disk: Pick<AgentDisk, 'save'>; readonly clock: Clock; readonly logger: Logger },
): Saving {
  let timer: Timer | undefined;
  let restMs = 0;
  const now = (): void => {
    timer?.cancel();
    timer = undefined;
    const began = clock.monotonic();
    disk.save(state());
    restMs = Math.min(LONGEST_SAVE_REST_MS, (clock.monotonic() - began) * SAVE_REST);
  };
  return {
    now,
    soon() {
      timer ??= clock.startTimer(Math.max(SAVE_AFTER_MS, restMs), () => {
        try {
          now();
        } catch (error) {
          logger.warn('state not saved, trying again with the next change', { reason: messageOf(error) });
        }
      });
    },
  };
}
