import { Metadata } from '@grpc/grpc-js';
import type { ServiceError, StatusObject } from '@grpc/grpc-js';
import { ERROR_CATALOGUE, TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { ErrorCode, SourceLocation } from '../../base/errors.ts';

/** Carries our error's code, hint and place beside the gRPC status. */
const DETAIL_KEY = 'tsswarm-error-bin';

/** What a handler ends its call with. An error that is not ours is a fault of ours: INTERNAL. */
export function toGrpcStatus(error: unknown): Partial<StatusObject> {
  const ours = isTsswarmError(error) ? error : new TsswarmError('INTERNAL', messageOf(error), { cause: error });
  const metadata = new Metadata();
  const detail = { code: ours.code, hint: ours.hint, where: ours.where };
  metadata.set(DETAIL_KEY, Buffer.from(JSON.stringify(detail)));
  return { code: ERROR_CATALOGUE[ours.code].grpc, details: ours.message, metadata };
}

/** The TsswarmError that a failed call stands for; a broken connection becomes UNAVAILABLE. */
export function fromGrpcError(error: unknown): TsswarmError {
  if (isTsswarmError(error)) return error;
  const { metadata, details, code } = error as Partial<ServiceError>;
  const raw = metadata?.get(DETAIL_KEY)[0];
  if (raw !== undefined) {
    const detail = JSON.parse(raw.toString()) as { code: ErrorCode; hint?: string; where?: SourceLocation };
    return new TsswarmError(detail.code, details ?? messageOf(error), {
      ...(detail.hint === undefined ? {} : { hint: detail.hint }),
      ...(detail.where === undefined ? {} : { where: detail.where }),
    });
  }
  const known: Partial<Record<number, ErrorCode>> = {
    1: 'CANCELLED',
    4: 'DEADLINE_EXCEEDED',
    8: 'TOO_LARGE',
    12: 'NOT_SUPPORTED',
    14: 'UNAVAILABLE',
  };
  if (code === 14) {
    // What gRPC says here ("No connection established…") helps nobody: the daemon is not there, or went away.
    return new TsswarmError('UNAVAILABLE', 'talking to the node: the connection is lost', {
      cause: error,
      hint: 'see "tsswarm status"',
    });
  }
  return new TsswarmError(known[code ?? 13] ?? 'INTERNAL', details ?? messageOf(error), { cause: error });
}

/** A connection that could not be made, or broke; `reason` in words that help. */
export function lostConnection(address: string, reason: string, cause: unknown): TsswarmError {
  return new TsswarmError('UNAVAILABLE', `talking to "${address}": ${reason}`, {
    cause,
    hint: 'check that the address can be reached from here, and that no firewall closes its port',
  });
}
