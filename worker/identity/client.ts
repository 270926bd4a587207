import { createPrivateKey } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
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

/** Certificates are backdated by an hour: clocks that differ by more cannot work together. */
const MAX_SKEW_MS = 3600 * 1000;

export type CaClient = Pick<ServiceClient<typeof caService>, 'issueCertificate' | 'watchIdentity'>;

export interface JoinOptions {
  /** A manager's "host:port". */
  readonly address: string;
  readonly token: string;
  readonly clock: Pick<Clock, 'now'>;
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
  const root = await fetchRoot(address, parseJoinToken(token).rootDigest, clock, signal);
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

/** The root at `address` that the token's digest names. */
async function fetchRoot(
  address: string,
  digest: string,
  clock: Pick<Clock, 'now'>,
  signal: AbortSignal | undefined,
): Promise<string> {
  const connection = connect(address, unverifiedCredentials());
  try {
    const { roots, wallTime } = await connection.service(caService).getRootCertificate({}, signal);
    const root = certificatesOf(roots).find(({ raw }) => rootDigest(raw) === digest);
    if (root === undefined) {
      throw new TsswarmError(
        'PERMISSION_DENIED',
        `joining the cluster at "${address}": it is not the one that the join token is of`,
        {
          hint: 'check the address; after "tsswarm ca --rotate" older tokens no longer hold: print one with "tsswarm join-token"',
        },
      );
    }
    const ahead = clock.now() - wallTime;
    if (Math.abs(ahead) > MAX_SKEW_MS) {
      throw new TsswarmError(
        'PERMISSION_DENIED',
        `joining the cluster at "${address}": the clock of this machine is ${Math.round(Math.abs(ahead) / 60_000)} min ${ahead > 0 ? 'ahead of' : 'behind'} that of the manager, at most 60 min are allowed`,
        { hint: 'set the clocks of both machines, best by NTP: date -u shows them' },
      );
    }
    return root.toString();
  } finally {
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
