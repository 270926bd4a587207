import { JOIN_TOKEN_PREFIX, SECRET_DIGITS, base36, rootDigest } from '../../base/join-token.ts';
import type { Random } from '../../base/random.ts';

/**
 * A new join token in swarmkit's form, `SWMTKN-1-<digest>-<secret>`: the digest lets the joining node recognise the
 * cluster, the secret lets the cluster recognise the node.
 */
export function newJoinToken(rootCertificatePem: string, random: Random): string {
  return `${JOIN_TOKEN_PREFIX}-${rootDigest(rootCertificatePem)}-${base36(random.bytes(16), SECRET_DIGITS)}`;
}
