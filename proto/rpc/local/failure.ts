import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { ErrorCode, SourceLocation } from '../../../base/errors.ts';

interface FailureBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly where?: SourceLocation;
}

/** An error as the body of a frame. One that is not ours is a fault of ours: INTERNAL. */
export function encodeFailure(error: unknown): Buffer {
  const ours = isTsswarmError(error) ? error : new TsswarmError('INTERNAL', messageOf(error), { cause: error });
  const { code, message, hint, where } = ours;
  return Buffer.from(JSON.stringify({ code, message, hint, where }));
}

/** The same error on the caller's side. */
export function decodeFailure(body: Buffer): TsswarmError {
  const { code, message, hint, where } = JSON.parse(body.toString()) as FailureBody;
  return new TsswarmError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(where === undefined ? {} : { where }),
  });
}
