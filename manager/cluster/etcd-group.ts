import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { OpenEtcdStore } from '../store/index.ts';
import type { GroupMember, ManagerGroup } from './group.ts';

/**
 * The managers over an external etcd: the nodes that are to be managers and have come as such. Any one of them is enough to
 * decide, because etcd keeps the state and says who leads.
 * @param ownId this manager
 */
export function etcdGroup(
  { store, leadership, managers, onMembership, resign }: OpenEtcdStore,
  ownId: NodeId,
): ManagerGroup {
  const members = (): readonly GroupMember[] => {
    const up = managers();
    return store
      .view((tx) => tx.list('node'))
      .filter(
        ({ id, spec, status }) => spec.role === 'manager' && (status.address !== '' || up.has(id) || id === ownId),
      )
      .map(({ id, status }) => ({
        id,
        // What the leader has tried comes first.
        address: status.address === '' ? (up.get(id)?.address ?? '') : status.address,
        voter: true,
        reachable: up.has(id),
      }));
  };
  return {
    status: () => ({ leaderId: leadership.status().leaderId, members: members() }),
    onChange: onMembership,
    // Who may read and write etcd is in; that it is to be a manager is written in the store.
    admit: () => Promise.resolve(),
    remove: () => Promise.resolve(),
    handOver: resign,
    demandWithout(id, action) {
      const all = members();
      if (!all.some((member) => member.id === id)) return;
      const rest = all.filter((member) => member.id !== id);
      if (rest.length === 0) {
        throw new TsswarmError('CONFLICT', `${action}: it is the last manager, and nobody would lead the cluster`, {
          hint: 'promote another node first (tsswarm node promote), or use --force to give the cluster up',
        });
      }
      if (rest.some(({ reachable }) => reachable)) return;
      throw new TsswarmError('CONFLICT', `${action}: no other manager is up, and nobody would lead the cluster`, {
        hint: 'start one of them, or promote another node, first (tsswarm node ls); --force leaves all the same',
      });
    },
  };
}
