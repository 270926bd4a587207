import type { ClusterSpec, ExternalCa, NodeAvailability, NodeRole, NodeState } from './objects.ts';

export interface RaftPingResponse {
  /** Who answers there. */
  readonly nodeId: string;
}

/** A manager as Raft sees it. */
export interface ManagerMember {
  readonly nodeId: string;
  /** "host:port" */
  readonly address: string;
  readonly voter: boolean;
  readonly leader: boolean;
  readonly reachable: boolean;
}
export interface ListManagersResponse {
  readonly managers: readonly ManagerMember[];
}
export interface JoinManagersRequest {
  readonly nodeId: string;
  /** Where the caller serves, "host:port"; the leader tries it. */
  readonly address: string;
}
export interface JoinManagersResponse {
  /** Addresses of all managers. */
  readonly managers: readonly string[];
}
export interface LeaveClusterRequest {
  readonly nodeId: string;
  /** Also when the rest cannot decide any more. */
  readonly force: boolean;
}
export interface UpdateNodeRequest {
  /** Id, a prefix of it, or a host name that only one node has. */
  readonly node: string;
  readonly role?: NodeRole;
  readonly availability?: NodeAvailability;
  readonly addLabels: Readonly<Record<string, string>>;
  readonly removeLabels: readonly string[];
}
export interface UpdateNodeResponse {
  readonly nodeId: string;
  /** False: it was so already. */
  readonly changed: boolean;
}
export interface RemoveNodeRequest {
  readonly node: string;
  /** Also when the node is not down. */
  readonly force: boolean;
}
export interface RemoveNodeResponse {
  readonly nodeId: string;
}
export interface RotateJoinTokenRequest {
  readonly role: NodeRole;
}
export interface RotateJoinTokenResponse {
  readonly token: string;
}

/** The way to an external etcd that keeps the cluster's state. */
export interface EtcdAccess {
  /** "host:port" of each member. */
  readonly endpoints: readonly string[];
  /** Every key of the cluster begins with it; begins and ends with a slash. */
  readonly prefix: string;
  readonly tls: boolean;
  /** PEM of who signed the members' certificates; empty: who the machine trusts. */
  readonly caCertificate: string;
  /** PEM of what this side shows; empty: nothing. */
  readonly certificate: string;
  readonly key: string;
  /** Empty: none is asked for. */
  readonly user: string;
  readonly password: string;
}
export interface StoreAccessResponse {
  /** Absent: the managers keep the state themselves. */
  readonly etcd?: EtcdAccess;
}
/** Settings of the cluster; what is absent stays as it is. */
export type UpdateClusterRequest = Partial<
  Pick<
    ClusterSpec,
    | 'removeDeadManagersMs'
    | 'taskHistoryLimit'
    | 'nodeCertExpiryMs'
    | 'dispatcherHeartbeatMs'
    | 'snapshotInterval'
    | 'maxSnapshots'
    | 'revisionLimit'
    | 'autoLock'
  >
> & {
  /** A root that is empty is the present one. */
  readonly externalCas?: { readonly cas: readonly ExternalCa[] };
  /**
   * The unlock key from now on. The caller makes it, so that the administrator has it before any manager needs it; absent when
   * autolock is switched on: one is made.
   */
  readonly unlockKey?: string;
};
export interface GetUnlockKeyResponse {
  readonly unlockKey: string;
}
export interface UpdateClusterResponse {
  /** False: it was so already. */
  readonly changed: boolean;
}
export interface RotateCaRequest {
  /** PEM of the root to go to and of its key; both empty: a new root is made; no key: an external CA has it. */
  readonly certificate: string;
  readonly key: string;
  /** Lifetime of the new certificates, ms; absent: as before. */
  readonly nodeCertExpiryMs?: number;
  /** Who signs with that root in place of the managers; a root that is empty is that one. */
  readonly externalCas: readonly ExternalCa[];
}
export interface RotateCaResponse {
  /** PEM of the root that the cluster goes to. */
  readonly rootCertificate: string;
}
export interface GetCaResponse {
  /** PEM. While a rotation is under way the root that is left. */
  readonly rootCertificate: string;
  readonly rotation?: CaRotationStatus;
}
/** How far a rotation of the root has come. */
export interface CaRotationStatus {
  /** Wall time, ms. */
  readonly startedAt: number;
  readonly rootCertificate: string;
  readonly nodes: readonly CaRotationNode[];
}
export interface CaRotationNode {
  readonly nodeId: string;
  readonly hostname: string;
  readonly state: NodeState;
  /** It uses a certificate of the new root. */
  readonly done: boolean;
}
