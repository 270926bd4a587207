import type { NodeId } from '../../base/ids.ts';
import type { Node } from '../../proto/types/index.ts';
import { clusterOf, withRemovedNode } from '../ca/cluster.ts';
import type { Store } from '../store/types.ts';

/**
 * Gives up every manager but one, after a quorum was lost for good: they are removed, and shut out by their certificates, as
 * they hold another membership and could else outvote the one that is left.
 * @param now wall time, ms
 * @returns who was given up
 */
export function giveUpOtherManagers(store: Store, self: NodeId, now: number): Promise<readonly Node[]> {
  return store.update((tx) => {
    const others = tx
      .list('node')
      .filter(({ id, spec, certificate }) => id !== self && [spec.role, certificate?.role].includes('manager'));
    let cluster = clusterOf(tx);
    for (const node of others) {
      tx.remove('node', node.id);
      cluster = withRemovedNode(cluster, node, now);
    }
    if (others.length > 0) tx.update('cluster', cluster);
    return others;
  });
}
