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
  const clock = new VirtualClock();
  let assigned = ids();
  let gate: Promise<void> = Promise.resolve();
  const networks = {
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
  };
  const start = () => createBridges({ networks, assigned: () => assigned, clock, logger: silentLogger });
  return {
    log,
    present,
    clock,
    /** The bridges of an agent that begins. */
    start,
    /** The agent hears which networks are assigned; it may be a while before it says so. */
    assign(...names: string[]) {
      assigned = ids(...names);
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
  };
}

describe('the bridges of a node', () => {
  it('are made once, and again when the network changed', async () => {
    const { start, log } = machine();
    const bridges = start();
    await bridges.ensure(network('a'));
    await bridges.ensure(network('a'));
    await bridges.ensure(network('a', '10.0.1.0/24'));
    assert.deepEqual(log, ['make a', 'make a']);
  });

  it('are looked for when a container could not be joined to them, and made anew when somebody took them away', async () => {
    const { start, log, present } = machine();
    const bridges = start();
    await bridges.ensure(network('a'));
    await bridges.ensure(network('a'), 'doubted');
    assert.deepEqual(log, ['make a'], 'it is there');
    present.delete('a' as NetworkId);
    await Promise.all([bridges.ensure(network('a'), 'doubted'), bridges.ensure(network('a'), 'doubted')]);
    assert.deepEqual(log, ['make a', 'remove a', 'make a'], 'with all that belongs to it, once');
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('are made anew for containers that run, also where an earlier life made them', async () => {
    const { start, log, present, assign } = machine();
    assign('a', 'b');
    await start().ensure(network('a'));
    const bridges = start();
    await bridges.collect();
    await bridges.ensure(network('b', '10.0.1.0/24'));
    const used = [network('a'), network('b', '10.0.1.0/24')];
    assert.deepEqual(await bridges.restore(used), [], 'both are there');
    for (const { id } of used) present.delete(id);
    log.length = 0;
    assert.deepEqual(await bridges.restore(used), used);
    assert.deepEqual([...present.keys()], ['a', 'b']);
    assert.deepEqual(log, ['remove a', 'make a', 'remove b', 'make b'], 'with all that belonged to them');
  });

  it('that cannot be made anew keep no other from it', async () => {
    const { start, present } = machine();
    const bridges = start();
    await bridges.ensure(network('b', '10.0.1.0/24'));
    present.clear();
    present.set('foreign' as NetworkId, '10.0.0.0/24');
    const used = [network('a'), network('b', '10.0.1.0/24')];
    assert.deepEqual(await bridges.restore(used), used.slice(1));
  });

  it('are kept a while after their last use, for the next one', async () => {
    const { start, log, present, clock, assign } = machine();
    const bridges = start();
    await bridges.ensure(network('a'));
    bridges.keep();
    await clock.advance(20_000);
    assign('a');
    bridges.keep();
    await clock.advance(60_000);
    assert.deepEqual([...present.keys()], ['a']);
    assign();
    bridges.keep();
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
    assert.deepEqual(log, ['make a', 'remove a']);
  });

  it('stay for a task that came since it was said last which networks are assigned', async () => {
    const { start, present, clock, assign } = machine();
    const bridges = start();
    bridges.keep();
    assign('a', 'b');
    await bridges.ensure(network('a'));
    await assert.rejects(bridges.ensure(network('b')), /overlaps/);
    assert.deepEqual([...present.keys()], ['a'], 'another one has no right to its subnet');
    await clock.advance(60_000);
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('stay when their network is assigned again, before that is said', async () => {
    const { start, present, clock, assign } = machine();
    const bridges = start();
    await bridges.ensure(network('a'));
    bridges.keep();
    assign('a');
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], ['a']);
    assign();
    bridges.keep();
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
  });

  it('are made anew for a task that comes while they go', async () => {
    const { start, present, hold } = machine();
    const bridges = start();
    await bridges.ensure(network('a'));
    const release = hold();
    const removal = bridges.remove('a' as NetworkId);
    const wanted = bridges.ensure(network('a'));
    release();
    await Promise.all([removal, wanted]);
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('go, too, when their network is taken away while they are made', async () => {
    const { start, present, hold, clock, assign } = machine();
    const bridges = start();
    assign('a');
    bridges.keep();
    const release = hold();
    const made = bridges.ensure(network('a'));
    assign();
    bridges.keep();
    release();
    await made;
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
  });

  it('go, too, when an earlier life made them and their network is removed after that', async () => {
    const { start, present, clock, assign } = machine();
    assign('a');
    await start().ensure(network('a'));
    const bridges = start();
    await bridges.collect();
    bridges.keep();
    assign();
    bridges.keep();
    await clock.advance(31_000);
    assert.deepEqual([...present.keys()], []);
  });

  it('of an earlier life stay when they are wanted again while others of it go', async () => {
    const { start, present, hold, assign } = machine();
    const before = start();
    await before.ensure(network('old'));
    await before.ensure(network('a', '10.0.1.0/24'));
    before.close();
    const bridges = start();
    const release = hold();
    const collected = bridges.collect();
    assign('a');
    const made = bridges.ensure(network('a', '10.0.1.0/24'));
    release();
    await Promise.all([made, collected]);
    assert.deepEqual([...present.keys()], ['a']);
  });

  it('leave their subnet to another network when they are idle', async () => {
    const { start, present, assign } = machine();
    const bridges = start();
    assign('a', 'b');
    await bridges.ensure(network('a'));
    await assert.rejects(bridges.ensure(network('b')), /overlaps/);
    assign('b');
    bridges.keep();
    await bridges.ensure(network('b'));
    assert.deepEqual([...present.keys()], ['b']);
  });

  it('do not wait for themselves when they cannot be made and their network was taken away meanwhile', async () => {
    const { start, assign, hold } = machine();
    const bridges = start();
    assign('a', 'b');
    await bridges.ensure(network('a'));
    await bridges.ensure(network('b', '10.0.1.0/24'));
    const release = hold();
    const changing = bridges.ensure(network('b'));
    changing.catch(() => undefined);
    assign('a');
    bridges.keep();
    release();
    await assert.rejects(changing, /overlaps/);
  });
});
