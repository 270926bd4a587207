import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as never);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** A new key, which never leaves the node, and the request for a certificate over it. Both PEM. */
export interface CertificateRequest {
  /** PKCS #8 */
  readonly key: string;
  /** PKCS #10. It names nobody: the CA decides every name. */
  readonly csr: string;
}

/** Makes a key (ECDSA P-256) and its certificate request. */
export async function createCertificateRequest(): Promise<CertificateRequest> {
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: ['tsswarm-node'] }],
    keys: keys as never,
    signingAlgorithm: ALGORITHM,
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { key: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, csr: `${request.toString('pem')}\n` };
}
