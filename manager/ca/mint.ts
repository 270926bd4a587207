import type { NodeId } from '../../base/ids.ts';
import type { Cluster, NodeRole } from '../../proto/types/index.ts';
import type { CheckedRequest, IssuedCertificate } from './issue.ts';
import type { RootCa } from './root.ts';

/**
 * What makes certificates with a key that is here. The product's is WebCrypto, whose threads and random numbers make every run another
 * one; a simulation brings its own.
 */
export interface Mint {
  /** As `readRequest` (issue.ts). */
  readonly readRequest: (csr: string) => Promise<CheckedRequest>;
  /** As `issueCertificate` (issue.ts). */
  readonly issueCertificate: (
    cluster: Cluster,
    request: CheckedRequest,
    node: { readonly nodeId: NodeId; readonly role: NodeRole },
    now: number,
  ) => Promise<IssuedCertificate>;
  /** As `createRootCa` (root.ts). */
  readonly createRootCa: (clusterId: string, now: number) => Promise<RootCa>;
  /** The next root, signed by the present one. */
  readonly crossSign: (cluster: Cluster, next: RootCa, now: number) => Promise<string>;
}
