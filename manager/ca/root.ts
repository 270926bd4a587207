import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { KEY_ALGORITHM } from './signing-key.ts';

/** swarmkit: the root lives 20 years. */
export const ROOT_LIFETIME_MS = 20 * 365 * 24 * 3600 * 1000;
/** swarmkit backdates certificates by an hour, for machines whose clocks differ. */
export const BACKDATE_MS = 3600 * 1000;

export interface RootCa {
  /** PEM */
  readonly certificate: string;
  /** PEM, PKCS #8 */
  readonly key: string;
}

/**
 * Makes the root of a cluster's identity: an ECDSA P-256 key and its self-signed certificate. Every root has a name of
 * its own, so that during a rotation nobody takes one for the other.
 * @param now wall time, ms
 */
export async function createRootCa(clusterId: string, now: number): Promise<RootCa> {
  const keys = (await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const identifier = await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerialNumber(),
    // In the order that Go writes names in: an external CA that signs this root would change any other.
    name: [{ O: [clusterId] }, { CN: [`tsswarm-ca-${identifier.keyId.slice(0, 12)}`] }],
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + ROOT_LIFETIME_MS),
    signingAlgorithm: KEY_ALGORITHM,
    keys: keys as never,
    extensions: [
      // Two below it: itself as cross-signed by its predecessor, then the node.
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      identifier,
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { certificate: pem(certificate), key: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n` };
}

/** 127 random bits in hex: positive, and shorter than RFC 5280's 20 bytes. */
export function newSerialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

/** PEM that can be appended to. */
export function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
