import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { TsswarmError } from '../../base/errors.ts';
import { certificatesOf } from '../../proto/rpc/certificate.ts';
import type { ExternalCa } from '../../proto/types/index.ts';
import type { RootCa } from './root.ts';
import { importSigningKey, parsePrivateKey } from './signing-key.ts';

/** A root that ends sooner than this is not taken: every certificate ends with its root. */
const MIN_REST_MS = 24 * 3600 * 1000;

/**
 * Takes a root that the user brings (`--ca-cert`, `--ca-key`).
 * @param certificatePem exactly one self-signed CA certificate
 * @param keyPem its private key, not encrypted; empty: an external CA has it
 * @param now wall time, ms
 * @throws INVALID_INPUT with what is wrong with the two
 */
export async function readExternalRoot(certificatePem: string, keyPem: string, now: number): Promise<RootCa> {
  const refuse = (reason: string, hint?: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `reading the CA certificate: ${reason}`, hint === undefined ? {} : { hint });
  const certificates = certificatesOf(certificatePem);
  const certificate = certificates[0];
  if (certificate === undefined || certificates.length > 1)
    throw refuse(`there are ${certificates.length} certificates in it, expected one`);
  const name = certificate.subject.replaceAll('\n', ', ');
  checkExtensions(certificate.toString(), refuse);
  if (!certificate.ca) {
    throw refuse(
      `"${name}" is no CA certificate`,
      'make one with basicConstraints=critical,CA:TRUE and keyUsage=critical,keyCertSign',
    );
  }
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    throw refuse(
      `"${name}" is not self-signed, expected a root`,
      'an intermediate would have to bring its root: give that',
    );
  }
  if (now < certificate.validFromDate.getTime())
    throw refuse(`"${name}" is valid only from ${certificate.validFromDate.toISOString()} on`);
  if (now + MIN_REST_MS > certificate.validToDate.getTime())
    throw refuse(`"${name}" ends at ${certificate.validToDate.toISOString()}, expected at least a day from now`);
  const text = `${certificate.toString().trimEnd()}\n`;
  if (keyPem === '') return { certificate: text, key: '' };
  if (!certificate.checkPrivateKey(parsePrivateKey(keyPem)))
    throw refuse(`the key does not fit "${name}"`, 'give the key that the certificate was made with');
  await importSigningKey(keyPem);
  return { certificate: text, key: pkcs8(keyPem) };
}

function pkcs8(keyPem: string): string {
  return parsePrivateKey(keyPem).export({ type: 'pkcs8', format: 'pem' }).toString();
}

function checkExtensions(certificatePem: string, refuse: (reason: string, hint?: string) => TsswarmError): void {
  const parsed = new x509.X509Certificate(certificatePem);
  const usage = parsed.getExtension(x509.KeyUsagesExtension);
  if (usage !== null && (usage.usages & x509.KeyUsageFlags.keyCertSign) === 0)
    throw refuse(`"${parsed.subject}" may not sign certificates: its key usage lacks keyCertSign`);
  // A rotation puts the next root, signed by this one, between it and the nodes.
  if (parsed.getExtension(x509.BasicConstraintsExtension)?.pathLength === 0)
    throw refuse(
      `"${parsed.subject}" allows no CA below it (pathlen:0): it could never be rotated`,
      'make it with pathlen:1 or without one',
    );
}

/** External CAs decide how long certificates live. @throws NOT_SUPPORTED where there is one */
export function refuseExpiry(cas: readonly ExternalCa[]): void {
  const [ca] = cas;
  if (ca === undefined) return;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `setting the lifetime of node certificates: the external CA "${ca.url}" decides it`,
    {
      hint: 'leave --cert-expiry out, and set "expiry" in the configuration of the CA',
    },
  );
}
