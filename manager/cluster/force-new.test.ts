import assert from 'node:assert/strict';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import { standing } from '../ca/cluster.ts';
import { giveUpOtherManagers } from './force-new.ts';

describe('a new cluster of one manager', () => {
  it('gives the other managers up, shuts them out by their certificates, and keeps workers', async () => {
    const cluster = await caCluster();
    try {
      const self = cluster.manager.node.nodeId;
      const manager = (await cluster.member('manager')).node.nodeId;
      const demoted = (await cluster.member('manager')).node.nodeId;
      await cluster.setRole(demoted, 'worker');
      const worker = (await cluster.member('worker')).node.nodeId;
      const given = await giveUpOtherManagers(cluster.store, self, cluster.clock.now());
      assert.deepEqual(given.map(({ id }) => id).sort(), [manager, demoted].sort());
      const left = cluster.store.view((tx) => tx.list('node').map(({ id }) => id));
      assert.deepEqual([...left].sort(), [self, worker].sort());
      const { isRemoved } = standing(cluster.store);
      assert.deepEqual([self, worker, manager, demoted].map(isRemoved), [false, false, true, true]);
      assert.deepEqual(
        await giveUpOtherManagers(cluster.store, self, cluster.clock.now()),
        [],
        'again changes nothing',
      );
    } finally {
      cluster.close();
    }
  });
});
