import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { RaftStatus } from '../raft/types.ts';

/**
 * Looks whether the managers can decide without one of them.
 * @param action for the message: "demoting the manager "abc""
 * @throws CONFLICT that says why not and how to go on
 */
export function demandQuorumWithout({ servers }: RaftStatus, nodeId: NodeId, action: string): void {
  const member = servers.find(({ id }) => id === nodeId);
  if (member === undefined || !member.voter) return;
  const rest = servers.filter(({ id, voter }) => voter && id !== nodeId);
  if (rest.length === 0) {
    throw new TsswarmError('CONFLICT', `${action}: it is the last manager, and the cluster would be lost with it`, {
      hint: 'promote another node first (tsswarm node promote), or use --force to give the cluster up',
    });
  }
  const reachable = rest.filter((server) => server.reachable);
  if (reachable.length * 2 > rest.length) return;
  throw new TsswarmError(
    'CONFLICT',
    `${action}: the quorum would be lost, only ${reachable.length} of the ${rest.length} other managers can be reached`,
    { hint: 'bring managers back, or promote other nodes, first (tsswarm node ls); --force leaves all the same' },
  );
}
