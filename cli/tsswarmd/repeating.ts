import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { isTsswarmError } from '../../base/errors.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { controlService } from '../../proto/rpc/services.ts';

type Control = ServiceHandlers<typeof controlService>;
type Answer<Request, Response> = (request: Request, signal: AbortSignal, caller: Caller) => Promise<Response>;

/** An election takes a second; on machines that are busy some. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 200;

/**
 * Asks again for what may be asked for twice when the leader was lost before it could say whether it is done: a project that shall be as
 * its file says, or be gone, is so after the second time as after the first. Containers that shall be replaced would be replaced twice, and
 * services by name would not be found any more: who asked for that is told.
 */
export function repeating(control: Control, clock: Clock): Control {
  return {
    ...control,
    applyProject: repeated(control.applyProject, clock, ({ forceRecreate }) => forceRecreate.length === 0),
    removeProject: repeated(control.removeProject, clock, ({ services }) => services.length === 0),
  };
}

function repeated<Request, Response>(
  ask: Answer<Request, Response>,
  clock: Clock,
  mayRepeat: (request: Request) => boolean,
): Answer<Request, Response> {
  return async (request, signal, caller) => {
    const deadline = clock.monotonic() + PATIENCE_MS;
    // The manager that passed it on asks again, not both.
    const repeats = caller.via === undefined && mayRepeat(request);
    let unknown: unknown;
    for (;;) {
      try {
        return await ask(request, signal, caller);
      } catch (error) {
        if (!repeats || signal.aborted) throw error;
        if (isTsswarmError(error, 'OUTCOME_UNKNOWN')) unknown = error;
        // That nobody leads now leaves it open whether it was done.
        else if (unknown === undefined || !isPassing(error)) throw error;
        if (clock.monotonic() >= deadline) throw unknown;
      }
      await sleep(clock, PAUSE_MS, signal);
    }
  };
}

const isPassing = (error: unknown): boolean =>
  isTsswarmError(error, 'UNAVAILABLE') || isTsswarmError(error, 'NOT_LEADER');
