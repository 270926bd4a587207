import { createPrivateKey } from 'node:crypto';
import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { CLOCK_HINT, clockSkew } from '../../base/clock-skew.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import { parseJoinToken, rootDigest } from '../../base/join-token.ts';
import { certificatesOf, identityOf, verifyChain } from '../../proto/rpc/certificate.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import { caService } from '../../proto/rpc/services.ts';
import { joiningCredentials, unverifiedCredentials } from '../../proto/rpc/tls.ts';
import type { IssueCertificateResponse, NodeAvailability, NodeDescription } from '../../proto/types/index.ts';
import { createCertificateRequest } from './request.ts';
import type { CertificateRequest } from './request.ts';

/** How long the manager that is to let the node in may be silent. */
const PATIENCE_MS = 10_000;

export type CaClient = Pick<ServiceClient<typeof caService>, 'issueCertificate' | 'watchIdentity'>;

export interface JoinOptions {
  /** A manager's "host:port". */
  readonly address: string;
  readonly token: string;
  readonly clock: Clock;
  readonly availability: NodeAvailability;
  /** Where this node will be reached, "host:port"; empty: nowhere. */
  readonly advertiseAddress: string;
  readonly description: NodeDescription;
  /** To repeat a join whose answer was lost: the same key is the same node. Absent: a new one is made. */
  readonly request?: CertificateRequest;
  readonly signal?: AbortSignal;
}

/**
 * Joins a cluster: fetches its root without believing it, holds it against the digest in the token, and only then shows
 * the token, on a connection that this root vouches for.
 * @throws INVALID_INPUT for a malformed token; PERMISSION_DENIED when the cluster is another one, the token is rotated or
 *   wrong, or the clocks differ too much; UNAVAILABLE when nobody can be reached there
 */
export async function obtainIdentity(options: JoinOptions): Promise<TlsIdentity> {
  const { address, token, clock, signal } = options;
  const root = await findRoot(options, parseJoinToken(token).rootDigest);
  const request = options.request ?? (await createCertificateRequest());
  const connection = connect(address, joiningCredentials(root));
  try {
    const answer = await connection.service(caService).issueCertificate(
      {
        csr: request.csr,
        token,
        availability: options.availability,
        address: options.advertiseAddress,
        wallTime: clock.now(),
        description: options.description,
      },
      signal,
    );
    return accept(answer, request, root, clock.now());
  } finally {
    connection.close();
  }
}

/**
 * Renews the certificate of a node, with a new key.
 * @param ca over a connection that proves who the node is
 */
export async function renewIdentity(
  ca: Pick<CaClient, 'issueCertificate'>,
  current: TlsIdentity,
  clock: Pick<Clock, 'now'>,
  signal?: AbortSignal,
): Promise<TlsIdentity> {
  const request = await createCertificateRequest();
  const answer = await ca.issueCertificate(
    { csr: request.csr, token: '', availability: 'active', address: '', wallTime: clock.now() },
    signal,
  );
  const next = accept(answer, request, '', clock.now());
  const [before, after] = [identityOf(current.certificate), identityOf(next.certificate)];
  if (before.nodeId === after.nodeId && before.clusterId === after.clusterId) return next;
  throw new TsswarmError(
    'INTERNAL',
    `renewing the certificate of "${before.nodeId}": the CA answered with one for "${after.nodeId}"`,
  );
}

/** The root at the address that the token's digest names. */
async function findRoot({ address, clock, signal }: JoinOptions, digest: string): Promise<string> {
  const { roots, wallTime, formerRoots } = await firstAnswer(address, clock, signal);
  const action = `joining the cluster at "${address}"`;
  // First: without the right time nothing else that is said here means much.
  const skew = clockSkew(clock.now(), wallTime);
  if (skew !== undefined) throw new TsswarmError('PERMISSION_DENIED', `${action}: ${skew}`, { hint: CLOCK_HINT });
  const root = certificatesOf(roots).find(({ raw }) => rootDigest(raw) === digest);
  if (root !== undefined) return root.toString();
  if (formerRoots.includes(digest)) {
    throw new TsswarmError(
      'PERMISSION_DENIED',
      `${action}: the join token is of a root that was rotated out (tsswarm ca --rotate)`,
      { hint: 'print the token that holds with "tsswarm join-token worker" (or manager) on a manager' },
    );
  }
  throw new TsswarmError(
    'PERMISSION_DENIED',
    `${action}: it is not the one that the join token is of: no root there has the digest of the token`,
    { hint: 'check the address, or print the token of that cluster: "tsswarm join-token" on one of its managers' },
  );
}

/** @throws UNAVAILABLE that says what to look at */
async function firstAnswer(address: string, clock: Clock, outer: AbortSignal | undefined) {
  const patience = new AbortController();
  const scope = new AbortController();
  const late = new TsswarmError('DEADLINE_EXCEEDED', `no answer within ${PATIENCE_MS / 1000} s`);
  void sleep(clock, PATIENCE_MS, patience.signal).then(
    () => scope.abort(late),
    () => undefined,
  );
  const connection = connect(address, unverifiedCredentials());
  try {
    const signal = outer === undefined ? scope.signal : AbortSignal.any([outer, scope.signal]);
    return await connection.service(caService).getRootCertificate({}, signal);
  } catch (cause) {
    if (!isTsswarmError(cause, 'UNAVAILABLE') && cause !== late) throw cause;
    const reason = messageOf(cause)
      .replace(`talking to "${address}": `, '')
      .replace(/^Error: /, '');
    throw new TsswarmError('UNAVAILABLE', `joining the cluster at "${address}": no manager answers there: ${reason}`, {
      cause,
      hint: `check that a manager runs there (tsswarm status), that this machine has a route to it, and that no firewall closes port ${address.slice(address.lastIndexOf(':') + 1)}/tcp`,
    });
  } finally {
    patience.abort();
    connection.close();
  }
}

/** Looks at what the CA answered before anything is kept. */
function accept(
  { certificate, roots }: IssueCertificateResponse,
  { key }: CertificateRequest,
  joinedRoot: string,
  now: number,
): TlsIdentity {
  const identity = { certificate, key, roots };
  verifyChain(certificate, roots, now);
  const own = certificatesOf(certificate)[0];
  const fits = own?.checkPrivateKey(createPrivateKey(key)) === true;
  const sameRoot =
    joinedRoot === '' || certificatesOf(roots).some(({ raw }) => rootDigest(raw) === rootDigest(joinedRoot));
  if (fits && sameRoot) return identity;
  throw new TsswarmError(
    'INTERNAL',
    `taking over the certificate: ${fits ? 'the root of the join token is not among the trusted ones' : 'it is for another key'}`,
  );
}
