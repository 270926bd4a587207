/**
 * The error catalogue: every error that crosses a room has one of these codes. How each maps to a gRPC status and to an
 * exit code stands here and nowhere else; `docs/errors.md` lists them and a test compares the two.
 */
export const ERROR_CATALOGUE = {
  // what the user gave us
  INVALID_INPUT: { grpc: 3, exit: 1, retryable: false, about: 'a value is malformed or not allowed' },
  INVALID_COMPOSE: { grpc: 3, exit: 15, retryable: false, about: 'a compose file is wrong; `where` says the place' },
  NOT_SUPPORTED: { grpc: 12, exit: 1, retryable: false, about: 'understood, but this version does not honour it yet' },
  NOT_FOUND: { grpc: 5, exit: 1, retryable: false, about: 'no such object' },
  ALREADY_EXISTS: { grpc: 6, exit: 1, retryable: false, about: 'the name or id is taken' },
  IN_USE: {
    grpc: 9,
    exit: 1,
    retryable: false,
    about: 'the object is used by another and cannot be removed or changed',
  },
  CONFLICT: { grpc: 10, exit: 1, retryable: true, about: 'the object changed meanwhile: read it again' },
  PERMISSION_DENIED: { grpc: 7, exit: 1, retryable: false, about: 'the caller has not the right' },
  // the cluster
  LOCKED: { grpc: 9, exit: 1, retryable: false, about: 'the manager is locked: it needs its unlock key' },
  UNAVAILABLE: { grpc: 14, exit: 1, retryable: true, about: 'the daemon, leader or peer cannot be reached now' },
  NODE_UNREACHABLE: {
    grpc: 14,
    exit: 1,
    retryable: true,
    about: 'the node that has the task is down, or has no connection to a manager',
  },
  NOT_LEADER: { grpc: 14, exit: 1, retryable: true, about: 'this manager does not lead; the leader answers' },
  OUTCOME_UNKNOWN: {
    grpc: 14,
    exit: 1,
    retryable: false,
    about: 'leadership or the link was lost: the write may or may not hold',
  },
  TOO_LARGE: { grpc: 8, exit: 1, retryable: false, about: 'a message, transaction or object exceeds its limit' },
  CANCELLED: { grpc: 1, exit: 130, retryable: false, about: 'the caller gave up' },
  DEADLINE_EXCEEDED: { grpc: 4, exit: 1, retryable: true, about: 'it took longer than was allowed' },
  CORRUPT: { grpc: 15, exit: 1, retryable: false, about: 'stored data fails its checksum or cannot be parsed' },
  INTERNAL: { grpc: 13, exit: 1, retryable: false, about: 'a fault of ours' },
  // the engine
  IMAGE_NOT_FOUND: { grpc: 5, exit: 18, retryable: false, about: 'the image is neither here nor at the registry' },
  REGISTRY_UNAVAILABLE: { grpc: 14, exit: 18, retryable: true, about: 'the registry does not answer' },
  DIGEST_MISMATCH: { grpc: 15, exit: 18, retryable: true, about: 'downloaded bytes are not those that were named' },
  DISK_FULL: { grpc: 8, exit: 1, retryable: true, about: 'no space is left on the device' },
  BUILD_FAILED: { grpc: 9, exit: 17, retryable: false, about: 'a build step failed' },
  MOUNT_FAILED: { grpc: 9, exit: 1, retryable: false, about: 'a mount of the container cannot be made' },
  BIND_SOURCE_MISSING: { grpc: 9, exit: 1, retryable: false, about: 'the source of a bind mount does not exist' },
  PORT_IN_USE: { grpc: 9, exit: 1, retryable: true, about: 'another task or process holds the port' },
  COMMAND_NOT_FOUND: { grpc: 9, exit: 127, retryable: false, about: 'the command does not exist in the image' },
  COMMAND_NOT_EXECUTABLE: { grpc: 9, exit: 126, retryable: false, about: 'the command exists and cannot be executed' },
  CONTAINER_NOT_RUNNING: { grpc: 9, exit: 1, retryable: false, about: 'the container is not running' },
  RUNTIME_FAILED: {
    grpc: 13,
    exit: 125,
    retryable: false,
    about: 'the launcher could not set the container up; the message names the step and the kernel error',
  },
  NETWORK_FAILED: { grpc: 13, exit: 1, retryable: true, about: 'an interface, address or rule could not be made' },
  ADDRESSES_EXHAUSTED: {
    grpc: 8,
    exit: 1,
    retryable: true,
    about: 'the network has no free address, or the pools no free subnet',
  },
} as const satisfies Record<string, { grpc: number; exit: number; retryable: boolean; about: string }>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** A place in a file that the user wrote; line and column count from 1. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface ErrorDetails {
  readonly cause?: unknown;
  readonly where?: SourceLocation;
  /** What the user can do next, as one sentence. */
  readonly hint?: string;
}

/**
 * An error that somebody may want to tell apart or show. Message grammar: the action that failed, the value in quotes, a
 * colon, what is, what was expected; no full stop, no contraction.
 */
export class TsswarmError extends Error {
  override readonly name = 'TsswarmError';
  readonly code: ErrorCode;
  readonly where: SourceLocation | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.where = details.where;
    this.hint = details.hint;
  }

  /** Whether the same call may succeed later without anybody changing anything. */
  get retryable(): boolean {
    return ERROR_CATALOGUE[this.code].retryable;
  }
}

/** Whether `error` is ours and, if `code` is given, has that code. */
export function isTsswarmError(error: unknown, code?: ErrorCode): error is TsswarmError {
  return error instanceof TsswarmError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `errno` name ("ENOENT") of a system error thrown by Node or by our addon, else undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/** `file:line:column`, as compilers print it. */
export function formatLocation(where: SourceLocation): string {
  return `${where.file}:${where.line}:${where.column}`;
}
