import type { NodeId } from '../../base/ids.ts';

/** A manager as its group knows it. */
export interface GroupMember {
  readonly id: string;
  /** Where it serves, "host:port"; empty while nobody knows. */
  readonly address: string;
  /** Whether it counts already: one that only catches up yet does not. */
  readonly voter: boolean;
  readonly reachable: boolean;
}

export interface GroupStatus {
  /** Empty while nobody is known to lead. */
  readonly leaderId: string;
  readonly members: readonly GroupMember[];
}

/**
 * The managers as a group: who belongs to it, who is there, what it takes to go on without one of them. What they decide with
 * makes the difference: Raft among themselves, or an external etcd.
 */
export interface ManagerGroup {
  status(): GroupStatus;
  /** Tells when a member came, went or moved, until the returned function is called. */
  onChange(listener: () => void): () => void;
  /**
   * Lets a manager in, or notes its new address; nothing happens when both are known. Only on the leader.
   * @throws NOT_LEADER, DEADLINE_EXCEEDED when it does not catch up
   */
  admit(id: NodeId, address: string, signal: AbortSignal): Promise<void>;
  /** Lets one go that is not the leader; nothing happens when it is no member. Only on the leader. @throws NOT_LEADER */
  remove(id: NodeId, signal: AbortSignal): Promise<void>;
  /** Has another manager lead. @throws NOT_LEADER, UNAVAILABLE when no other can */
  handOver(): Promise<void>;
  /**
   * Looks whether the others can go on without one.
   * @param action for the message: `demoting the manager "abc"`
   * @throws CONFLICT that says why not and how to go on
   */
  demandWithout(id: NodeId, action: string): void;
}
