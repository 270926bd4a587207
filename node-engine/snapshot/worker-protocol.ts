import { TsswarmError, errnoOf, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { NeedsLowerLayers } from './apply.ts';
import type { ApplyLimits, ApplySummary } from './apply.ts';

/** Unpack an archive file into an empty directory. */
export interface ApplyJob {
  readonly kind: 'apply';
  readonly archive: string;
  readonly root: string;
  /** Names the layer in messages. */
  readonly what: string;
  /** The layers beneath, top-most first; undefined: unknown. */
  readonly lower: readonly string[] | undefined;
  readonly limits: ApplyLimits;
}

/** Remove a directory with all its content. */
export interface RemoveJob {
  readonly kind: 'remove';
  readonly path: string;
}

export interface ApplyResult extends ApplySummary {
  /** Digest of the plain tar: the layer's diff id. */
  readonly diffId: string;
}

export type Job = ApplyJob | RemoveJob;
export interface JobResults {
  readonly apply: ApplyResult;
  readonly remove: undefined;
}

export type Request = { readonly id: number; readonly job: Job } | { readonly cancel: number };

export type Reply =
  | { readonly id: number; readonly progress: number }
  | { readonly id: number; readonly result: ApplyResult | undefined }
  | { readonly id: number; readonly failure: Failure };

/** An error as it crosses the thread: class instances do not. */
export interface Failure {
  readonly kind: 'tsswarm' | 'needs-lower' | 'system' | 'other';
  readonly code: string;
  readonly message: string;
}

/** @see reviveFailure */
export function packFailure(error: unknown): Failure {
  const message = messageOf(error);
  if (isTsswarmError(error)) return { kind: 'tsswarm', code: error.code, message };
  if (error instanceof NeedsLowerLayers) return { kind: 'needs-lower', code: '', message };
  const errno = errnoOf(error);
  return errno === undefined ? { kind: 'other', code: '', message } : { kind: 'system', code: errno, message };
}

/** The error again on this side; system errors keep their `code`. */
export function reviveFailure(failure: Failure): Error {
  switch (failure.kind) {
    case 'tsswarm':
      return new TsswarmError(failure.code as ErrorCode, failure.message);
    case 'needs-lower':
      return new NeedsLowerLayers();
    case 'system':
      return Object.assign(new Error(failure.message), { code: failure.code });
    case 'other':
      return new Error(failure.message);
  }
}
