import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import { kindOf } from './caller.ts';
import type { Caller } from './caller.ts';
import { admit } from './callers.ts';

/** A stream that was let in, and is still open. */
export interface StandingCall {
  readonly path: string;
  /** Who it was let in as. */
  readonly caller: Caller;
  /** Who the same connection would be let in as now. @throws PERMISSION_DENIED */
  readonly present: () => Caller;
  /** Ends it, for its handler and for its caller. */
  readonly end: (reason: TsswarmError) => void;
}

/**
 * The streams that stand. A stream may outlive what it was let in by: a certificate that expires, whose root is rotated out, or whose
 * node is removed or demoted. Whoever knows of such a change has them looked at again.
 */
export interface StandingCalls {
  /** @returns what is to be called when the stream is over */
  add(call: StandingCall): () => void;
  /** Ends every stream that would not be let in any more as what it was let in as. */
  recheck(): void;
}

/** Holds nothing at first. */
export function standingCalls(): StandingCalls {
  const calls = new Set<StandingCall>();
  return {
    add(call) {
      calls.add(call);
      return () => void calls.delete(call);
    },
    recheck() {
      for (const call of [...calls]) {
        const reason = refusal(call);
        if (reason === undefined) continue;
        calls.delete(call);
        call.end(reason);
      }
    },
  };
}

/** Why the stream may not go on; undefined: it may. */
function refusal({ path, caller, present }: StandingCall): TsswarmError | undefined {
  try {
    const now = present();
    admit(path, now);
    if (kindOf(now) === kindOf(caller)) return undefined;
    // Its handler was told another role; the node is let in with the present one.
    return new TsswarmError(
      'UNAVAILABLE',
      `calling "${path.replace('/tsswarm.v1.', '')}": the node is a ${kindOf(now)} now, and was a ${kindOf(caller)} when the call began`,
      { hint: 'call again' },
    );
  } catch (cause) {
    const code = isTsswarmError(cause) ? cause.code : 'INTERNAL';
    const hint = isTsswarmError(cause) && cause.hint !== undefined ? { hint: cause.hint } : {};
    // Whoever reads it has done nothing wrong: what it was let in by holds no more.
    return new TsswarmError(code, `the connection is lost: ${messageOf(cause)}`, { cause, ...hint });
  }
}
