import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import type { Cluster } from '../../proto/types/index.ts';
import { seededRandom } from '../../base/random.ts';
import { A_DESCRIPTION } from '../../test/builders/ca-cluster.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { bootstrapCluster } from '../ca/bootstrap.ts';
import { heartbeatMs, withSettings } from '../cluster/spec.ts';
import { memoryStore } from '../store/index.ts';
import { createDispatcher } from './server.ts';

describe('heartbeats', () => {
  it('are as often as the cluster says, from the next one on', async () => {
    const clock = new VirtualClock();
    const [store, random, nodeId] = [memoryStore(clock), seededRandom(1), 'node1' as NodeId];
    await bootstrapCluster({ store, clock, random, nodeId, description: A_DESCRIPTION, addressPools: [] });
    const { handlers } = createDispatcher({ store, clock, random, logger: silentLogger });
    const life = new AbortController();
    const state = (): string => store.view((tx) => tx.get('node', nodeId)?.status.state ?? 'gone');
    const set = (dispatcherHeartbeatMs: number): Promise<void> =>
      store.update((tx) => {
        for (const cluster of tx.list('cluster'))
          tx.update('cluster', { ...cluster, spec: withSettings(cluster.spec, { dispatcherHeartbeatMs }) });
      });
    const stream = handlers.session({ nodeId, description: A_DESCRIPTION }, life.signal)[Symbol.asyncIterator]();
    const first = await stream.next();
    assert.ok(first.done !== true);
    const { sessionId, heartbeatMs } = first.value;
    assert.equal(heartbeatMs, 1500);
    stream.next().catch(() => undefined);
    const beat = () => handlers.heartbeat({ sessionId, nodeId }, life.signal);

    await set(60_000);
    assert.deepEqual(await beat(), { heartbeatMs: 60_000, leaseMs: 0 });
    await clock.advance(179_000);
    assert.equal(state(), 'ready', 'three periods are given');

    await set(500);
    assert.deepEqual(await beat(), { heartbeatMs: 500, leaseMs: 0 });
    await clock.advance(1_499);
    assert.equal(state(), 'ready');
    await clock.advance(2);
    await settle();
    assert.equal(state(), 'down', 'silent for three periods');
    life.abort();
  });

  it('are asked for more rarely where there are many nodes, unless the cluster says how often', () => {
    const periods = [1, 375, 376, 750, 751, 3000].map((nodes) => heartbeatMs(undefined, nodes));
    assert.deepEqual(periods, [1500, 1500, 3000, 3000, 6000, 12_000]);
    const cluster = { spec: { dispatcherHeartbeatMs: 1500 } } as Cluster;
    assert.equal(heartbeatMs(cluster, 3000), 1500);
  });

  it('promise nothing while it is not sure that nobody else leads', async () => {
    const clock = new VirtualClock();
    const [store, random, nodeId] = [memoryStore(clock), seededRandom(1), 'node1' as NodeId];
    await bootstrapCluster({ store, clock, random, nodeId, description: A_DESCRIPTION, addressPools: [] });
    await store.update((tx) => {
      const node = tx.get('node', nodeId);
      // The only manager would get a lease without end.
      if (node !== undefined) tx.update('node', { ...node, spec: { ...node.spec, role: 'worker' } });
    });
    let confirmation = Promise.resolve();
    const confirmLead = (): Promise<void> => confirmation;
    const { handlers, leases } = createDispatcher({ store, clock, random, logger: silentLogger, confirmLead });
    const life = new AbortController();
    const stream = handlers.session({ nodeId, description: A_DESCRIPTION }, life.signal)[Symbol.asyncIterator]();
    const first = await stream.next();
    assert.ok(first.done !== true);
    stream.next().catch(() => undefined);
    const { sessionId } = first.value;
    const surelyOver = 5500 * 1.1 + 500;
    const started = clock.monotonic();
    await clock.advance(1000);
    assert.equal((await handlers.heartbeat({ sessionId, nodeId }, life.signal)).leaseMs, 5500);
    await clock.advance(1000);
    confirmation = Promise.reject(new TsswarmError('NOT_LEADER', 'another manager leads'));
    confirmation.catch(() => undefined);
    await assert.rejects(handlers.heartbeat({ sessionId, nodeId }, life.signal), /another manager leads/);
    assert.equal(leases.isOver(nodeId, started + 1000 + surelyOver - 1), false);
    assert.equal(leases.isOver(nodeId, started + 1000 + surelyOver), true, 'the lease of the answer before');
    const another = handlers.session({ nodeId, description: A_DESCRIPTION }, life.signal)[Symbol.asyncIterator]();
    await assert.rejects(another.next(), /another manager leads/);
    life.abort();
  });
});
