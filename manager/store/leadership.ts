import type { RaftObservation, RaftStatus, ServerStatus } from '../raft/types.ts';

/** What tells who leads the managers: Raft itself, or an election on an external etcd. */
export interface LeadershipSource {
  status(): Pick<RaftStatus, 'ready' | 'leaderId'> & {
    readonly servers: readonly Pick<ServerStatus, 'id' | 'address'>[];
  };
  /**
   * Listens until the returned function is called. On etcd there are only `leader` and `role`, and `term` is the fencing
   * token: it grows with every leader.
   */
  observe(listener: (event: RaftObservation) => void): () => void;
}
