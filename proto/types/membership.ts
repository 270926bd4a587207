import type { NodeAvailability, NodeRole } from './objects.ts';

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
