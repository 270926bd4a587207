import { createHash, timingSafeEqual } from 'node:crypto';
import { TsswarmError } from '../../base/errors.ts';
import { parseJoinToken, rootDigest } from '../../base/join-token.ts';
import type { Random } from '../../base/random.ts';
import type { Cluster, NodeRole } from '../../proto/types/index.ts';
import type { Store } from '../store/types.ts';
import { clusterOf } from './cluster.ts';
import { newJoinToken } from './join-token.ts';

/** How many replaced tokens are remembered, to tell "was rotated" from "is wrong". */
const REMEMBERED_TOKENS = 32;

/**
 * The role that a join token gives.
 * @throws INVALID_INPUT for what is no token; PERMISSION_DENIED for one of another cluster, a rotated or a wrong one
 */
export function roleOfToken(cluster: Cluster, token: string): NodeRole {
  const { rootDigest: digest } = parseJoinToken(token);
  if (equal(token, cluster.joinTokens.manager)) return 'manager';
  if (equal(token, cluster.joinTokens.worker)) return 'worker';
  const refuse = (reason: string): TsswarmError =>
    new TsswarmError('PERMISSION_DENIED', `joining the cluster: ${reason}`, {
      hint: 'print the token that holds with "tsswarm join-token worker" (or manager) on a manager',
    });
  if (cluster.rotatedTokens?.includes(tokenDigest(token))) throw refuse('the join token was rotated');
  if (digest !== rootDigest(cluster.rootCaCertificate)) throw refuse('the join token is of another cluster');
  throw refuse('the join token is wrong');
}

/** `tsswarm join-token <role>`. @throws NOT_FOUND when there is no cluster */
export function joinToken(store: Pick<Store, 'view'>, role: NodeRole): string {
  return store.view(clusterOf).joinTokens[role];
}

/**
 * `tsswarm join-token --rotate <role>`: a new token; the old one is refused from the commit on, members stay.
 * @returns the new token
 */
export function rotateJoinToken(store: Store, random: Random, role: NodeRole): Promise<string> {
  return store.update((tx) => {
    const cluster = clusterOf(tx);
    const token = newJoinToken(cluster.rootCaCertificate, random);
    tx.update(
      'cluster',
      withoutToken({ ...cluster, joinTokens: { ...cluster.joinTokens, [role]: token } }, cluster, role),
    );
    return token;
  });
}

/** Remembers the token that `before` had for the role as a rotated one. */
export function withoutToken(next: Cluster, before: Cluster, role: NodeRole): Cluster {
  const rotatedTokens = [...(next.rotatedTokens ?? []), tokenDigest(before.joinTokens[role])];
  return { ...next, rotatedTokens: rotatedTokens.slice(-REMEMBERED_TOKENS) };
}

function tokenDigest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function equal(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}
