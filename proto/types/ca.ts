import type { NodeId } from '../../base/ids.ts';
import type { NodeAvailability, NodeDescription, NodeRole } from './objects.ts';

export interface GetRootCertificateResponse {
  /** PEM bundle: every root that is trusted now, two while the CA is rotated. */
  readonly roots: string;
  /** The manager's clock, ms. Not authenticated: good for an error message only. */
  readonly wallTime: number;
  /** Digests of roots that were rotated out. Not authenticated: good for an error message only. */
  readonly formerRoots: readonly string[];
}

export interface IssueCertificateRequest {
  /** PKCS #10 in PEM; only its key counts, the CA decides every name. */
  readonly csr: string;
  /** Empty: the calling node renews with the certificate it has. */
  readonly token: string;
  /** Of a node that joins. */
  readonly availability: NodeAvailability;
  /** Where a node that joins is reached, "host:port"; empty: nowhere. */
  readonly address: string;
  /** The caller's clock, ms. */
  readonly wallTime: number;
  /** Of a node that joins; absent when it renews. */
  readonly description?: NodeDescription;
}

export interface IssueCertificateResponse {
  readonly nodeId: NodeId;
  readonly role: NodeRole;
  /** PEM chain, the node's own certificate first. */
  readonly certificate: string;
  /** PEM bundle of trusted roots. */
  readonly roots: string;
}

/** What the node uses now: the manager learns from it when a rotation is through. */
export interface WatchIdentityRequest {
  readonly nodeId: NodeId;
  /** Digest of the root that issued the node's certificate (`rootDigest`). */
  readonly usedIssuer: string;
  readonly trustedRoots: readonly string[];
}

/** What the node should have; it renews when its certificate differs. */
export interface IdentityNotice {
  readonly role: NodeRole;
  /** Digest of the root that issues now. */
  readonly issuer: string;
  /** PEM bundle of trusted roots. */
  readonly roots: string;
}
