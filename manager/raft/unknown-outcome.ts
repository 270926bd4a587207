import { TsswarmError } from '../../base/errors.ts';

/** The failure of a write that may or may not hold: whoever made it is told so, and what to do. */
export const unknownOutcome = (reason: string, cause?: unknown): TsswarmError =>
  new TsswarmError('OUTCOME_UNKNOWN', `writing the log: ${reason}`, {
    cause,
    hint: 'see whether it was done, and repeat it if not',
  });
