import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { TsswarmError } from '../../base/errors.ts';

x509.cryptoProvider.set(webcrypto as never);

/** Keys that the CA makes: ECDSA P-256, as swarmkit's. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** RSA keys shorter than this sign nothing here. */
const RSA_BITS = 2048;

const CURVES: Readonly<Record<string, { readonly namedCurve: string; readonly hash: string }>> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
};

/** A private key that signs certificates, with the algorithm it signs by. */
export interface SigningKey {
  readonly key: CryptoKey;
  readonly algorithm: { readonly name: string; readonly hash: string };
}

type CryptoKey = webcrypto.CryptoKey;

/**
 * Takes a private key from PEM (PKCS #8, SEC 1 or PKCS #1).
 * @throws INVALID_INPUT for what is no key, an encrypted one, or one of a kind that is not used here
 */
export async function importSigningKey(pem: string): Promise<SigningKey> {
  const parsed = parsePrivateKey(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = parsed;
  const curve = CURVES[details?.namedCurve ?? ''];
  const algorithm =
    type === 'ec' && curve !== undefined
      ? { name: 'ECDSA', ...curve }
      : type === 'rsa' && (details?.modulusLength ?? 0) >= RSA_BITS
        ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
        : undefined;
  if (algorithm === undefined) {
    const found = details?.namedCurve ?? (details?.modulusLength ? `RSA with ${details.modulusLength} bits` : type);
    throw new TsswarmError(
      'INVALID_INPUT',
      `reading the CA key: it is ${found}, expected ECDSA on P-256, P-384 or P-521, or RSA with at least ${RSA_BITS} bits`,
    );
  }
  const der = parsed.export({ type: 'pkcs8', format: 'der' });
  return { key: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']), algorithm };
}

/** @throws INVALID_INPUT for what is no private key */
export function parsePrivateKey(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new TsswarmError('INVALID_INPUT', 'reading the CA key: it is no private key in PEM', {
      cause,
      hint: pem.includes('ENCRYPTED')
        ? 'it is encrypted: decrypt it first, openssl pkey -in ca.key -out plain.key'
        : 'expected a block "-----BEGIN PRIVATE KEY-----"',
    });
  }
}
