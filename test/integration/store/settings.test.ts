import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { bootstrapCluster } from '../../../manager/ca/bootstrap.ts';
import { withSettings } from '../../../manager/cluster/spec.ts';
import { openStore } from '../../../manager/store/index.ts';
import type { OpenStore } from '../../../manager/store/index.ts';
import type { ClusterSettings } from '../../../manager/cluster/spec.ts';
import { A_DESCRIPTION } from '../../builders/ca-cluster.ts';
import { eventually } from '../../e2e/machine.ts';

describe('settings of the cluster that its managers obey', () => {
  let dir: string;
  let opened: OpenStore;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'tsswarm-settings-'));
    const [clock, random] = [systemClock, systemRandom];
    opened = await openStore({
      dir,
      id: 'a',
      clock,
      random,
      logger: silentLogger,
      onFatal: (error) => assert.fail(error),
    });
    const { store } = opened;
    await bootstrapCluster({
      store,
      clock,
      random,
      nodeId: 'a' as NodeId,
      description: A_DESCRIPTION,
      addressPools: [],
      settings: { snapshotInterval: 100 },
    });
  });
  after(async () => {
    await opened.close();
    rmSync(dir, { recursive: true });
  });

  const set = (change: ClusterSettings): Promise<void> =>
    opened.store.update((tx) => {
      for (const cluster of tx.list('cluster'))
        tx.update('cluster', { ...cluster, spec: withSettings(cluster.spec, change) });
    });
  /** Indexes that there are snapshots of, oldest first. */
  const snapshots = (): number[] =>
    readdirSync(join(dir, 'snapshots'))
      .filter((name) => name.endsWith('.snapshot'))
      .map((name) => Number(name.slice(0, 16)))
      .sort((a, b) => a - b);
  /** Writes until there is a snapshot that was not there. */
  const untilNext = async (): Promise<void> => {
    const before = snapshots().at(-1) ?? 0;
    for (let count = 0; count < 100; count++) await set({ taskHistoryLimit: count });
    await eventually(() => ((snapshots().at(-1) ?? 0) > before ? true : undefined), 'another snapshot');
  };

  it('takes snapshots as often, and keeps as many, as they say', async () => {
    for (let round = 0; round < 3; round++) await untilNext();
    // The oldest goes after the new one is there.
    const isOneMore = (): true | undefined => (snapshots().length === 2 ? true : undefined);
    await eventually(isOneMore, 'one more than the newest, where nothing is said');
    await set({ maxSnapshots: 3 });
    for (let round = 0; round < 4; round++) await untilNext();
    await eventually(() => (snapshots().length === 4 ? true : undefined), 'four snapshots');
    await set({ maxSnapshots: 0 });
    await untilNext();
    await eventually(() => (snapshots().length === 1 ? true : undefined), 'one snapshot');
  });
});
