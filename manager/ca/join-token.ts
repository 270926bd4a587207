import { createHash } from 'node:crypto';
import { TsswarmError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';

const PREFIX = 'SWMTKN-1';
/** 32 bytes in base 36, and 16 bytes in base 36, zero-padded. */
const DIGEST_DIGITS = 50;
const SECRET_DIGITS = 25;

/** What a join token says: which root to trust, and the secret that proves the right to join. */
export interface JoinToken {
  readonly rootDigest: string;
  readonly secret: string;
}

/**
 * A new join token in swarmkit's form, `SWMTKN-1-<digest>-<secret>`: the digest lets the joining node recognise the
 * cluster, the secret lets the cluster recognise the node.
 */
export function newJoinToken(rootCertificatePem: string, random: Random): string {
  return `${PREFIX}-${rootDigest(rootCertificatePem)}-${base36(random.bytes(16), SECRET_DIGITS)}`;
}

/** @throws INVALID_INPUT when `text` is no join token */
export function parseJoinToken(text: string): JoinToken {
  const [, digest, secret] = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/.exec(text) ?? [];
  if (digest !== undefined && secret !== undefined) return { rootDigest: digest, secret };
  throw new TsswarmError(
    'INVALID_INPUT',
    `reading the join token "${text.slice(0, 12)}…": malformed, expected ${PREFIX}-<50 characters>-<25 characters>`,
    {
      hint: 'print it with "tsswarm init" on the manager and copy the whole line',
    },
  );
}

/** Digest of a root certificate as tokens carry it. */
export function rootDigest(rootCertificatePem: string): string {
  const der = Buffer.from(rootCertificatePem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return base36(createHash('sha256').update(der).digest(), DIGEST_DIGITS);
}

function base36(bytes: Uint8Array, digits: number): string {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
    .toString(36)
    .padStart(digits, '0');
}
