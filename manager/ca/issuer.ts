import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { rootDigest } from '../../base/join-token.ts';
import { ROLE_UNITS, certificatesOf, identityOf, verifyChain } from '../../proto/rpc/certificate.ts';
import type { Cluster, ExternalCa, NodeRole } from '../../proto/types/index.ts';
import { hostsOf, issueCertificate, issuerOf } from './issue.ts';
import type { CheckedRequest, IssuedCertificate } from './issue.ts';
import type { Mint } from './mint.ts';
import type { ExternalSigner } from './signer/signer.ts';

/** A node's certificate has to be good for both ends of a connection (RFC 5280, 4.2.1.12). */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

export interface IssuerOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Absent: there is no way to external CAs from here. */
  readonly sign?: ExternalSigner;
  /** Absent: certificates are X.509 by WebCrypto. */
  readonly mint?: Mint;
}

export interface NodeNames {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
}

/** The external CAs that sign with the root that issues now; none: the managers sign. */
export function externalCasOf(cluster: Cluster): readonly ExternalCa[] {
  const digest = rootDigest(issuerOf(cluster).certificate);
  return (cluster.spec.externalCas ?? []).filter(({ rootCertificate }) => rootDigest(rootCertificate) === digest);
}

/**
 * Issues a node certificate: by an external CA where there is one for the root that issues now, the next one when the first
 * fails; else with the root's key.
 * @param csr PKCS #10 in PEM, that `request` was read from
 * @throws UNAVAILABLE when no external CA can be used
 */
export async function issue(
  { clock, sign, mint }: IssuerOptions,
  cluster: Cluster,
  csr: string,
  request: CheckedRequest,
  node: NodeNames,
  signal?: AbortSignal,
): Promise<IssuedCertificate> {
  const cas = externalCasOf(cluster);
  if (cas.length === 0) {
    if (issuerOf(cluster).key !== '')
      return (mint?.issueCertificate ?? issueCertificate)(cluster, request, node, clock.now());
    throw new TsswarmError(
      'UNAVAILABLE',
      'issuing a certificate: the key of the root is not here, and no external CA is',
      {
        hint: 'name one: tsswarm update --external-ca protocol=cfssl,url=…',
      },
    );
  }
  if (sign === undefined) throw new TsswarmError('INTERNAL', 'issuing a certificate: no way to the external CA');
  const unit = ROLE_UNITS[node.role];
  const failures: unknown[] = [];
  for (const ca of cas) {
    try {
      const subject = { nodeId: node.nodeId, unit, clusterId: cluster.id };
      const answer = await sign(ca, { csr, subject, hosts: hostsOf(node) }, signal);
      return checked(answer, ca, cluster, request, node, clock.now());
    } catch (error) {
      signal?.throwIfAborted();
      failures.push(error);
    }
  }
  throw allOf(failures);
}

/** What to throw when every one of several CAs has failed. */
export function allOf(failures: readonly unknown[]): unknown {
  const [first] = failures;
  if (failures.length === 1) return first;
  return new TsswarmError('UNAVAILABLE', failures.map(messageOf).join('; '), {
    cause: first,
    ...(first instanceof TsswarmError && first.hint !== undefined ? { hint: first.hint } : {}),
  });
}

/** Nothing that comes from outside is handed out unseen. */
function checked(
  answer: string,
  { url }: ExternalCa,
  cluster: Cluster,
  { keyDigest }: CheckedRequest,
  { nodeId, role }: NodeNames,
  now: number,
): IssuedCertificate {
  const refuse = (reason: string): TsswarmError =>
    new TsswarmError('UNAVAILABLE', `using the certificate that the external CA "${url}" has issued: ${reason}`, {
      hint: 'mend the configuration of the CA; nothing else has changed',
    });
  const own = certificatesOf(answer)[0];
  if (own === undefined) throw refuse('there is none in the answer');
  const spki = createHash('sha256')
    .update(own.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
  if (spki !== keyDigest) throw refuse('it is for another key');
  let named: ReturnType<typeof identityOf>;
  try {
    verifyChain(answer, issuerOf(cluster).certificate, now);
    named = identityOf(own);
  } catch (error) {
    throw refuse(messageOf(error));
  }
  if (named.nodeId !== nodeId || named.role !== role || named.clusterId !== cluster.id) {
    throw refuse(
      `it names "${own.subject.replaceAll('\n', ', ')}", expected CN=${nodeId}, OU=${ROLE_UNITS[role]}, O=${cluster.id}`,
    );
  }
  if (own.ca) throw refuse('it is a CA certificate');
  // Absent: good for everything.
  const usages = own.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && ![SERVER_AUTH, CLIENT_AUTH].every((usage) => usages.includes(usage)))
    throw refuse('it is not good for both "server auth" and "client auth"');
  const chain = answer.endsWith('\n') ? answer : `${answer}\n`;
  return {
    certificate: chain + (cluster.caRotation?.crossCertificate ?? ''),
    issuedAt: own.validFromDate.getTime(),
    expiresAt: own.validToDate.getTime(),
  };
}
