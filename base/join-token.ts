import { createHash } from 'node:crypto';
import { TsswarmError } from './errors.ts';

/** What every join token begins with: swarmkit's form, version 1. */
export const JOIN_TOKEN_PREFIX = 'SWMTKN-1';
/** 32 bytes in base 36, and 16 bytes in base 36, zero-padded. */
const DIGEST_DIGITS = 50;
export const SECRET_DIGITS = 25;

/** What a join token says: which root to trust, and the secret that proves the right to join. */
export interface JoinToken {
  readonly rootDigest: string;
  readonly secret: string;
}

/** @throws INVALID_INPUT when `text` is no join token */
export function parseJoinToken(text: string): JoinToken {
  const [, digest, secret] = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/.exec(text) ?? [];
  if (digest !== undefined && secret !== undefined) return { rootDigest: digest, secret };
  if (text.startsWith('SWMKEY-')) {
    throw new TsswarmError('INVALID_INPUT', 'reading the join token: it is the unlock key of a cluster', {
      hint: 'print the token with "tsswarm join-token worker" on a manager',
    });
  }
  throw new TsswarmError(
    'INVALID_INPUT',
    `reading the join token "${text.slice(0, 12)}…": malformed, expected ${JOIN_TOKEN_PREFIX}-<50 characters>-<25 characters>`,
    { hint: 'print it with "tsswarm join-token worker" on a manager and copy the whole line' },
  );
}

/** Digest of a root certificate (PEM, or its DER) as tokens carry it. */
export function rootDigest(root: string | Uint8Array): string {
  const der = typeof root === 'string' ? Buffer.from(root.replace(/-----[^-]+-----|\s/g, ''), 'base64') : root;
  return base36(createHash('sha256').update(der).digest(), DIGEST_DIGITS);
}

/** Bytes as a number in base 36, padded with zeros to `digits`. */
export function base36(bytes: Uint8Array, digits: number): string {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
    .toString(36)
    .padStart(digits, '0');
}
