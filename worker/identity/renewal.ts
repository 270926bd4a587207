import { backoffMs } from '../../base/async.ts';
import type { Random } from '../../base/random.ts';
import { rootDigest } from '../../base/join-token.ts';
import { certificatesOf, identityOf, verifyChain } from '../../proto/rpc/certificate.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import type { IdentityNotice, WatchIdentityRequest } from '../../proto/types/index.ts';

/** swarmkit renews at a random point between 50 and 80 % of a certificate's life. */
const EARLIEST = 0.5;
const LATEST = 0.8;

/**
 * How long to wait before the certificate is renewed, ms; 0: at once.
 * @param now wall time, ms
 */
export function renewalDelayMs(certificate: string, now: number, random: Random): number {
  const own = certificatesOf(certificate)[0];
  if (own === undefined) return 0;
  const [from, to] = [own.validFromDate.getTime(), own.validToDate.getTime()];
  const share = EARLIEST + (LATEST - EARLIEST) * random.next();
  return Math.max(0, from + (to - from) * share - now);
}

/** swarmkit's retries of a renewal: 5 s, doubled up to an hour. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 3600 * 1000;
/** Share of what is left of a certificate's life that may pass without an attempt. */
const LONGEST_SHARE = 0.25;

/**
 * How long to wait when the renewal has failed, ms. A manager that comes back shortly before the certificate ends must be asked
 * before that: afterwards nobody would let the node in.
 * @param now wall time, ms
 * @param failures in a row, from 1 on
 */
export function retryDelayMs(certificate: string, now: number, failures: number): number {
  const usual = backoffMs(failures - 1, RETRY_MS, MAX_RETRY_MS);
  const left = (certificatesOf(certificate)[0]?.validToDate.getTime() ?? 0) - now;
  return left <= 0 ? usual : Math.max(RETRY_MS, Math.min(usual, left * LONGEST_SHARE));
}

/** What a notice asks of the node. */
export interface Obedience {
  readonly renew: 'role' | 'issuer' | undefined;
  /** The trusted roots have changed. */
  readonly roots: boolean;
}

/** Compares what the node has with what the manager says it should have. */
export function obey(current: TlsIdentity, notice: IdentityNotice, now: number): Obedience {
  const used = usage(current, now);
  const roots = digestsOf(notice.roots).join() !== used.trustedRoots.join();
  if (identityOf(current.certificate).role !== notice.role) return { renew: 'role', roots };
  return { renew: used.usedIssuer === notice.issuer ? undefined : 'issuer', roots };
}

/** What the node tells the manager that it uses. */
export function usage(current: TlsIdentity, now: number): WatchIdentityRequest {
  return {
    nodeId: identityOf(current.certificate).nodeId,
    usedIssuer: issuerOf(current, now),
    trustedRoots: digestsOf(current.roots),
  };
}

function issuerOf({ certificate, roots }: TlsIdentity, now: number): string {
  // While a root is rotated two chains lead to a root; the shorter one is the issuer's own.
  const own = certificatesOf(certificate)[0]?.toString() ?? '';
  try {
    return rootDigest(verifyChain(own, roots, now).raw);
  } catch {
    return '';
  }
}

function digestsOf(roots: string): readonly string[] {
  return certificatesOf(roots).map(({ raw }) => rootDigest(raw));
}
