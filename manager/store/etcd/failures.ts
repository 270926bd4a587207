import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { KnownLeader } from './replica.ts';

/** What to do when etcd cannot be used. */
export const ETCD_AWAY =
  'containers run on, and changes are taken again once a majority of the members of etcd is up: see "tsswarm status"';

const CHANGING = 'changing the store';

/** What etcd says to those whom it does not let in, and what to do about it. */
const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [
    /authentication failed, invalid user ID or password/,
    'the user or password of the store is wrong: user in the URL, password by --store-password-file',
  ],
  [
    /user name is empty/,
    'etcd asks for a user and password: etcd://<user>@…, and --store-password-file; or a client certificate',
  ],
  [
    /permission denied/,
    'the user of the store (etcd://<user>@…, or the name in the certificate) has to be allowed all keys below the prefix: etcdctl role grant-permission <role> --prefix=true readwrite <prefix>',
  ],
  [/authentication is not enabled/, 'this etcd takes no users: leave user and password out of --store'],
];

/**
 * An error of a call to etcd as one of ours.
 * @param what "reading from", "writing to"
 */
export function etcdFailure(what: string, error: unknown): TsswarmError {
  const reason = reasonOf(error);
  const refusal = REFUSALS.find(([pattern]) => pattern.test(reason));
  if (refusal !== undefined)
    return new TsswarmError('PERMISSION_DENIED', `${what} etcd: ${reason}`, { cause: error, hint: refusal[1] });
  return new TsswarmError('UNAVAILABLE', `${what} etcd: ${reason}`, { cause: error });
}

/** Whether a call that failed has surely not reached any member: there was no connection to send it over. */
export function isUnsent(error: unknown): boolean {
  const reason = reasonOf(error instanceof TsswarmError ? error.cause : error);
  return /^connect E[A-Z]+|^No connection established|did not answer a moment ago|^Name resolution failed/.test(reason);
}

/** A token ends after minutes without use, with the process of the member, and when rights change: another one is asked for. */
export function isStaleToken(error: unknown): boolean {
  return /invalid auth token|revision of auth store is old/.test(messageOf(error));
}

/** What gRPC, Node and openssl put around the words that a person can do something with. */
const WRAPPING: readonly (readonly [RegExp, string])[] = [
  [/^\d+ [A-Z_]+: /, ''],
  [/^.*Last error: /s, ''],
  [/\. Resolution note:.*$/s, ''],
  [/\s*\(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, ''],
  [/^(?:Error(?: \[\w+\])?: )+/, ''],
  [/^.*:SSL routines:[^:]*:([^:]+):.*$/s, '$1'],
  [/; if the root CA is installed locally.*$/s, ''],
  [/^Deadline exceeded.*$/s, 'it does not answer'],
  [/^etcdserver: /, ''],
];

/** Why a call failed, in short. */
export function reasonOf(error: unknown): string {
  return WRAPPING.reduce((text, [pattern, rest]) => text.replace(pattern, rest), messageOf(error)).trim();
}

const LOOK = 'look whether the change is there before trying again';
const LOOK_LATER = 'containers run on; once a majority of the members of etcd is up (see "tsswarm status"), ' + LOOK;

/** A change that was sent, and of which nothing was heard. @param cause why nothing can be heard any more */
export function outcomeUnknown(cause: unknown): TsswarmError {
  const why = messageOf(cause);
  const message = why.startsWith(CHANGING) ? why : `${CHANGING}: ${why}`;
  const isAway = cause instanceof TsswarmError && cause.hint === ETCD_AWAY;
  return new TsswarmError('OUTCOME_UNKNOWN', message, { cause, hint: isAway ? LOOK_LATER : LOOK });
}

/**
 * A change that this manager cannot make, as it does not lead. Where etcd itself is the reason, that is what the user is told.
 * @param leader who can be asked instead
 * @param failure why etcd did not answer
 */
export function notLeader(leader: KnownLeader | undefined, failure: TsswarmError | undefined): TsswarmError {
  if (failure !== undefined)
    return new TsswarmError('UNAVAILABLE', `${CHANGING}: ${failure.message}`, { hint: failure.hint ?? ETCD_AWAY });
  const hint =
    leader === undefined ? 'no leader is known at the moment' : `the leader is "${leader.id}" at "${leader.address}"`;
  return new TsswarmError('NOT_LEADER', `${CHANGING}: this manager does not lead`, { hint });
}
