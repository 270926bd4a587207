import type { Clock } from '../../base/clock.ts';
import { isTsswarmError } from '../../base/errors.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { controlService } from '../../proto/rpc/services.ts';
import { whileLeaderless } from './while-leaderless.ts';

type Control = ServiceHandlers<typeof controlService>;
type Answer<Request, Response> = (request: Request, signal: AbortSignal, caller: Caller) => Promise<Response>;

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
    try {
      return await ask(request, signal, caller);
    } catch (unknown) {
      // The manager that passed it on asks again, not both.
      if (caller.via !== undefined || !mayRepeat(request) || !isTsswarmError(unknown, 'OUTCOME_UNKNOWN')) throw unknown;
      return await whileLeaderless(clock, () => ask(request, signal, caller), signal, isPassing).catch(
        (error: unknown) => {
          // That nobody leads then leaves it open whether it was done.
          throw isPassing(error) ? unknown : error;
        },
      );
    }
  };
}

const PASSING = ['OUTCOME_UNKNOWN', 'UNAVAILABLE', 'NOT_LEADER'] as const;
const isPassing = (error: unknown): boolean => PASSING.some((code) => isTsswarmError(error, code));
