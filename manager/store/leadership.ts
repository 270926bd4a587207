import type { RaftObservation, RaftStatus, ServerStatus } from '../raft/types.ts';

/** What tells who leads the managers: Raft itself, or an election on an external etcd. */
export interface LeadershipSource {
  status(): Pick<RaftStatus, 'ready' | 'leaderId'> & {
    readonly servers: readonly Pick<ServerStatus, 'id' | 'address'>[];
  };
  /** How long it may take until somebody leads, ms: a call that comes before waits. Absent: as Raft takes. */
  readonly electionMs?: number;
  /** Whether it surely leads at this moment, by its clock; absent: it does from one event to the next. */
  stillLeads?(): boolean;
  /**
   * Resolves when nobody else led at some moment after the call.
   * @throws NOT_LEADER, or UNAVAILABLE where that cannot be told
   */
  confirmLead(): Promise<void>;
  /** Why nobody can lead at the moment, and what to do, where more is known than that nobody does. */
  trouble?(): { readonly reason: string; readonly hint: string } | undefined;
  /**
   * Listens until the returned function is called. On etcd there are only `leader` and `role`, and `term` is the fencing
   * token: it grows with every leader.
   */
  observe(listener: (event: RaftObservation) => void): () => void;
}
