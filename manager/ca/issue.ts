import 'reflect-metadata';
import { createHash } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { rootDigest } from '../../base/join-token.ts';
import { ROLE_UNITS } from '../../proto/rpc/certificate.ts';
import type { Cluster, NodeRole } from '../../proto/types/index.ts';
import { DEFAULT_CERT_EXPIRY_MS, MIN_CERT_EXPIRY_MS } from '../cluster/spec.ts';
import { BACKDATE_MS, newSerialNumber, pem } from './root.ts';
import { importSigningKey } from './signing-key.ts';

/** A certificate request whose signature was checked: the sender holds the key. */
export interface CheckedRequest {
  readonly publicKey: x509.PublicKey;
  /** sha256 of the public key (SPKI), hex. */
  readonly keyDigest: string;
}

export interface IssuedCertificate {
  /** PEM chain: the node's own certificate, then (during a rotation) the cross-signed root. */
  readonly certificate: string;
  /** Wall time, ms, in whole seconds: the certificate's beginning, an hour before it was made. */
  readonly issuedAt: number;
  /** Wall time, ms. */
  readonly expiresAt: number;
}

/** Which root issues now: during a rotation the new one already. */
export function issuerOf(cluster: Cluster): { readonly certificate: string; readonly key: string } {
  const { caRotation } = cluster;
  return caRotation === undefined
    ? { certificate: cluster.rootCaCertificate, key: cluster.rootCaKey }
    : { certificate: caRotation.rootCertificate, key: caRotation.rootKey };
}

/** PEM bundle of the roots that are trusted now: during a rotation both. */
export function trustedRoots(cluster: Cluster): string {
  const roots = [cluster.rootCaCertificate, cluster.caRotation?.rootCertificate ?? ''];
  return roots.map((root) => (root === '' || root.endsWith('\n') ? root : `${root}\n`)).join('');
}

/** Digest of the root that issues now, as nodes report it. */
export function issuerDigest(cluster: Cluster): string {
  return rootDigest(issuerOf(cluster).certificate);
}

/**
 * Takes the key from a certificate request; the names in it count for nothing.
 * @param csr PKCS #10 in PEM
 * @throws INVALID_INPUT when it is none, its signature is wrong, or its key is not ECDSA P-256
 */
export async function readRequest(csr: string): Promise<CheckedRequest> {
  const refuse = (reason: string, cause?: unknown): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `reading a certificate request: ${reason}`, { cause });
  let request: x509.Pkcs10CertificateRequest;
  let valid: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
    valid = await request.verify();
  } catch (cause) {
    throw refuse('it is none in PEM (PKCS #10)', cause);
  }
  if (!valid) throw refuse('its signature does not fit its key');
  const { publicKey } = request;
  const { name, namedCurve } = publicKey.algorithm as { readonly name: string; readonly namedCurve?: string };
  if (name !== 'ECDSA' || namedCurve !== 'P-256')
    throw refuse(`its key is ${name} ${namedCurve ?? ''}, expected ECDSA P-256`);
  return { publicKey, keyDigest: createHash('sha256').update(new Uint8Array(publicKey.rawData)).digest('hex') };
}

/**
 * Issues a node certificate as swarmkit does: CN the node, OU the role, O the cluster; backdated by an hour; never
 * longer than its root.
 * @param now wall time, ms
 */
export async function issueCertificate(
  cluster: Cluster,
  request: CheckedRequest,
  node: { readonly nodeId: NodeId; readonly role: NodeRole },
  now: number,
): Promise<IssuedCertificate> {
  const issuer = issuerOf(cluster);
  const root = new x509.X509Certificate(issuer.certificate);
  const { key, algorithm } = await importSigningKey(issuer.key);
  const unit = ROLE_UNITS[node.role];
  const lifetime = Math.max(MIN_CERT_EXPIRY_MS, cluster.spec.nodeCertExpiryMs ?? DEFAULT_CERT_EXPIRY_MS);
  // X.509 counts in seconds.
  const issuedAt = Math.floor((now - BACKDATE_MS) / 1000) * 1000;
  const expiresAt = Math.floor(Math.min(now + lifetime, root.notAfter.getTime()) / 1000) * 1000;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: [{ CN: [node.nodeId] }, { OU: [unit] }, { O: [cluster.id] }],
    issuer: root.subjectName,
    notBefore: new Date(issuedAt),
    notAfter: new Date(expiresAt),
    publicKey: request.publicKey,
    signingKey: key as never,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      // Workers serve too: images to each other, containers to the managers.
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(hostsOf(node).map((value) => ({ type: 'dns', value }))),
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
      await authorityOf(root),
    ],
  });
  return { certificate: pem(certificate) + (cluster.caRotation?.crossCertificate ?? ''), issuedAt, expiresAt };
}

/** Alternative names of a node's certificate, as swarmkit's. */
export function hostsOf({ nodeId, role }: { readonly nodeId: NodeId; readonly role: NodeRole }): readonly string[] {
  return [nodeId, ROLE_UNITS[role], ...(role === 'manager' ? ['swarm-ca'] : [])];
}

/** Names the issuer's key the way the issuer itself does, or verifiers take them for two keys. */
export async function authorityOf(root: x509.X509Certificate): Promise<x509.AuthorityKeyIdentifierExtension> {
  const own = root.getExtension(x509.SubjectKeyIdentifierExtension);
  return own === null
    ? x509.AuthorityKeyIdentifierExtension.create(root.publicKey)
    : new x509.AuthorityKeyIdentifierExtension(own.keyId);
}
