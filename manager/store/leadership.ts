import type { RaftObservation, RaftStatus, ServerStatus } from '../raft/types.ts';

/** What tells who leads the managers: Raft itself, or an election on the external etcd. */
export interface LeadershipSource {
  status(): Pick<RaftStatus, 'ready' | 'leaderId'> & {
    readonly servers: readonly Pick<ServerStatus, 'id' | 'address'>[];
  };
  /** Listens until the returned function is called. */
  observe(listener: (event: Extract<RaftObservation, { kind: 'leader' | 'role' }>) => void): () => void;
}
