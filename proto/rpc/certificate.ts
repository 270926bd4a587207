import { X509Certificate } from 'node:crypto';
import { TsswarmError } from '../../base/errors.ts';
import type { ClusterId, NodeId } from '../../base/ids.ts';
import type { NodeRole } from '../types/index.ts';

/** Organizational units of the roles, as swarmkit's certificates name them. */
export const ROLE_UNITS = { manager: 'swarm-manager', worker: 'swarm-worker' } as const satisfies Record<
  NodeRole,
  string
>;

/** Who a node certificate says its holder is. */
export interface NodeIdentity {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
  readonly clusterId: ClusterId;
}

/**
 * Reads the identity from a node certificate's subject: CN node, OU role, O cluster. It says what the certificate
 * claims; whether it may be believed is the chain's business ({@link verifyChain}).
 * @param certificate PEM (of a chain: the first counts) or parsed
 * @throws INVALID_INPUT for a certificate that names no node
 */
export function identityOf(certificate: string | X509Certificate): NodeIdentity {
  const parsed = typeof certificate === 'string' ? firstOf(certificate) : certificate;
  const fields = new Map<string, string>();
  for (const line of parsed.subject?.split('\n') ?? []) {
    const [name = '', value = ''] = line.split(/=(.*)/s);
    if (fields.has(name)) throw notNode(parsed.subject);
    fields.set(name, value);
  }
  const [nodeId, unit, clusterId] = ['CN', 'OU', 'O'].map((name) => fields.get(name) ?? '');
  const role = (Object.keys(ROLE_UNITS) as NodeRole[]).find((name) => ROLE_UNITS[name] === unit);
  if (!nodeId || !clusterId || role === undefined || !/^[0-9a-z]+$/.test(nodeId)) throw notNode(parsed.subject);
  return { nodeId: nodeId as NodeId, role, clusterId: clusterId as ClusterId };
}

/**
 * The certificates of a PEM bundle, in order.
 * @throws INVALID_INPUT when a block is no certificate
 */
export function certificatesOf(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new TsswarmError('INVALID_INPUT', 'reading a PEM bundle: a block is no certificate', { cause });
    }
  });
}

/**
 * Follows a chain of PEM certificates, the node's own first, up to one of the roots.
 * @param now wall time, ms
 * @returns the root that the chain ends at
 * @throws PERMISSION_DENIED when it does not end there, or a certificate is not valid at `now`
 */
export function verifyChain(chainPem: string, rootsPem: string, now: number): X509Certificate {
  const roots = certificatesOf(rootsPem);
  const chain = certificatesOf(chainPem);
  let current = chain[0];
  // One step per certificate of the chain, then the root: a loop of certificates ends the search.
  for (let steps = 0; current !== undefined && steps <= chain.length; steps++) {
    const { validFromDate, validToDate } = current;
    if (now < validFromDate.getTime()) throw denied(`it is valid from ${validFromDate.toISOString()} on`);
    if (now >= validToDate.getTime()) throw denied(`it has expired at ${validToDate.toISOString()}`);
    const subject: X509Certificate = current;
    const root = roots.find((candidate) => signed(candidate, subject));
    if (root !== undefined) return root;
    current = chain.find((candidate) => candidate !== subject && signed(candidate, subject));
  }
  throw denied('no root of this cluster has signed it');
}

/** Whether one of the roots itself has signed the certificate; when it was valid is not looked at. */
export function isIssuedBy(certificate: X509Certificate, rootsPem: string): boolean {
  return certificatesOf(rootsPem).some((root) => signed(root, certificate));
}

function signed(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function firstOf(pem: string): X509Certificate {
  const first = certificatesOf(pem)[0];
  if (first === undefined) throw new TsswarmError('INVALID_INPUT', 'reading a certificate: there is none in the text');
  return first;
}

function notNode(subject: string): TsswarmError {
  return new TsswarmError(
    'INVALID_INPUT',
    `reading the certificate "${(subject ?? '').replaceAll('\n', ', ')}": it names no node, expected CN=<node>, OU=swarm-manager or swarm-worker, O=<cluster>`,
  );
}

function denied(reason: string): TsswarmError {
  return new TsswarmError('PERMISSION_DENIED', `verifying a certificate: ${reason}`);
}
