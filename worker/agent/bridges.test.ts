import assert from 'node:assert/strict';
import type { NetworkId, ProjectId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import type { Network } from '../../proto/types/index.ts';
import { networkSpec } from '../../test/builders/specs.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { createBridges } from './bridges.ts';

const network = (id: string, subnet = '10.0.0.0/24'): Network => ({
  id: id as NetworkId,
  meta: { version: 1, createdAt: 0, updatedAt: 0 },
  projectId: 'p' as ProjectId,
  spec: networkSpec(id),
  subnet,
  gateway: '10.0.0.1',
  pendingDelete: false,
});
const ids = (...names: string[]): ReadonlySet<NetworkId> => new Set(names as NetworkId[]);

/** A node whose bridges are a set: subnets may not be taken twice, and work on them ends when the test says so. */
function machine() {
  const present = new Map<NetworkId, string>();
  const log: string[] = [];
  let gate: Promise<void> = Promise.resolve();
  return {
    log,
    present,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    networks: {
      async ensureBridge({ id, subnet }: { id: NetworkId; subnet: string }) {
        log.push(`make ${id}`);
        await gate;
        if ([...present].some(([other, taken]) => other !== id && taken === subnet)) throw new Error('overlaps');
        present.set(id, subnet);
      },
      async removeBridge(id: NetworkId) {
        log.push(`remove ${id}`);
        await gate;
        present.delete(id);
      },
      listBridges: () => Promise.resolve([...present.keys()]),
    },
  };
}

describe('the bridges of a node', () => {
  it('are made once, and again when the network changed', async () => {
    const { networks, log } = machine();
    const bridges = createBridges({ networks, clock: new VirtualClock(), logger: silentLogger });
    await bridges.ensure(network('a'));
    await bridges.ensure(network('a'));
    await bridges.ensure(network('a', '10.0.1.0/24'));
    assert.deepEqual(log, ['make a', 'make a']);
  });

  it('are kept a while after their last use, for the next one', async () => {
    const { networks, log, present } = machine();
    const clock = new VirtualClock();
    const bridges = createBridges({ networks, clock, logger: silentLogger });
    await bridges.ensure(network('a'));
    bridges.keep(ids());
    await clock.advance(20_000);
    bridges.keep(ids('a'));
    await clock.advance(60_000);
    assert.deepEqual([...present.keys()], ['a']);
    bridges.keep(ids());
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
    assert.deepEqual(log, ['make a', 'remove a']);
  });

  it('are made anew for a task that comes while they go', async () => {
    const { networks, present, hold } = machine();
    const bridges = createBridges({ networks, clock: new VirtualClock(), logger: silentLogger });
    await bridges.ensure(network('a'));
    const release = hold();
    const removal = bridges.remove('a' as NetworkId);
    const wanted = bridges.ensure(network('a'));
    release();
    await Promise.all([removal, wanted]);
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('go, too, when their network is taken away while they are made', async () => {
    const { networks, present, hold } = machine();
    const clock = new VirtualClock();
    const bridges = createBridges({ networks, clock, logger: silentLogger });
    bridges.keep(ids('a'));
    const release = hold();
    const made = bridges.ensure(network('a'));
    bridges.keep(ids());
    release();
    await made;
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
  });

  it('go, too, when an earlier life made them and their network is removed after that', async () => {
    const { networks, present } = machine();
    const clock = new VirtualClock();
    await createBridges({ networks, clock, logger: silentLogger }).ensure(network('a'));
    const bridges = createBridges({ networks, clock, logger: silentLogger });
    await bridges.collect(() => ids('a'));
    bridges.keep(ids('a'));
    bridges.keep(ids());
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
  });

  it('of an earlier life stay when they are wanted again while others of it go', async () => {
    const { networks, present, hold } = machine();
    const clock = new VirtualClock();
    const before = createBridges({ networks, clock, logger: silentLogger });
    await before.ensure(network('old'));
    await before.ensure(network('a', '10.0.1.0/24'));
    const bridges = createBridges({ networks, clock, logger: silentLogger });
    let assigned = ids();
    const release = hold();
    const collected = bridges.collect(() => assigned);
    assigned = ids('a');
    const made = bridges.ensure(network('a', '10.0.1.0/24'));
    release();
    await Promise.all([made, collected]);
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('leave their subnet to another network when they are idle', async () => {
    const { networks, present } = machine();
    const bridges = createBridges({ networks, clock: new VirtualClock(), logger: silentLogger });
    await bridges.ensure(network('a'));
    await assert.rejects(bridges.ensure(network('b')), /overlaps/);
    bridges.keep(ids());
    await bridges.ensure(network('b'));
    assert.deepEqual([...present.keys()], ['b']);
  });
});
