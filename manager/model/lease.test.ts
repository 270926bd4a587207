import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import type { Node, NodeRole } from '../../proto/types/index.ts';
import { T0 } from '../../test/builders/objects.ts';
import { Leases, leaseFor, leaseMs, surelyOverAfterMs } from './lease.ts';

const id = 'a' as NodeId;
const node = (name: string, role: NodeRole, lease?: number): Node => ({
  id: name as NodeId,
  meta: { version: 0, createdAt: T0, updatedAt: T0 },
  spec: { role, availability: 'active', labels: {} },
  description: {
    hostname: name,
    platform: { os: 'linux', architecture: 'amd64' },
    resources: { nanoCpus: 1e9, memoryBytes: 1 << 30 },
    engine: { version: '1', labels: {} },
  },
  status: { state: 'ready', message: '', address: '', ...(lease === undefined ? {} : { leaseMs: lease }) },
});

describe('leases', () => {
  it('are over on the node before the manager takes them for over, however their clocks drift', () => {
    for (const heartbeat of [500, 1500, 5000, 3_600_000]) {
      const length = leaseMs(heartbeat);
      for (const nodeRate of [0.92, 1, 1.08]) {
        for (const managerRate of [0.999, 1, 1.001]) {
          // The node counts from when it sent the heartbeat; the answer is made later, never earlier.
          for (const onTheWay of [0, 1, 3000]) {
            const nodeEnds = length / nodeRate;
            const managerActs = onTheWay + surelyOverAfterMs(length) / managerRate;
            assert.ok(nodeEnds < managerActs, `${heartbeat} ms, rates ${nodeRate} and ${managerRate}`);
          }
        }
      }
    }
  });

  it('of the default are short enough for tasks to run elsewhere within 8 s of a loss', () => {
    assert.deepEqual([leaseMs(1500), surelyOverAfterMs(leaseMs(1500))], [5500, 6550]);
  });

  it('have no end for the only manager, and one for everybody else', () => {
    const [m, w] = [node('a', 'manager'), node('b', 'worker')];
    assert.equal(
      leaseFor(m, () => [m, w], 1500),
      Infinity,
    );
    assert.equal(
      leaseFor(w, () => [m, w], 1500),
      5500,
    );
    assert.equal(
      leaseFor(m, () => [m, w, node('c', 'manager')], 1500),
      5500,
    );
    assert.equal(
      leaseFor(undefined, () => [m, w], 1500),
      5500,
      'a node that is new',
    );
  });

  it('may have been renewed by another leader meanwhile, also to a node that was removed then', () => {
    const leases = new Leases();
    leases.promise(id, 1000, 0);
    leases.promise('b' as NodeId, 60_000, 0);
    assert.equal(leases.isOver(id, 10_000), true);
    // It led before, and leads again: the store knows neither node any more.
    leases.begin([], 1000, 10_000);
    assert.deepEqual([leases.isOver(id, 11_599), leases.isOver(id, 11_600)], [false, true]);
    assert.deepEqual([leases.isOver('b' as NodeId, 66_499), leases.isOver('b' as NodeId, 66_500)], [false, true]);
  });

  it('are kept when a shorter one is promised', () => {
    const leases = new Leases();
    leases.promise(id, 60_000, 0);
    leases.promise(id, 1000, 100);
    assert.deepEqual([leases.isOver(id, 66_499), leases.isOver(id, 66_500)], [false, true]);
  });

  it('without end last until the node itself says that it is under another', () => {
    const leases = new Leases();
    leases.promise(id, Infinity, 0);
    assert.equal(leases.isOver(id, 1e12), false);
    leases.promise(id, 1000, 5000);
    assert.deepEqual([leases.isOver(id, 6599), leases.isOver(id, 6600)], [false, true]);
  });

  it('that another leader may have promised are waited for from the moment of the change', () => {
    const leases = new Leases();
    assert.equal(leases.isOver(id, 1e12), false, 'nothing is known before');
    leases.begin([node('a', 'worker', 20_000), node('b', 'worker'), node('c', 'manager', 0)], 1000, 5000);
    const over = (name: string, now: number): boolean => leases.isOver(name as NodeId, now);
    assert.deepEqual([over('a', 27_499), over('a', 27_500)], [false, true], 'as long as it was told');
    assert.deepEqual([over('b', 6599), over('b', 6600)], [false, true], 'as usual');
    assert.equal(over('c', 1e12), false, 'without end');
    assert.deepEqual([over('gone', 6599), over('gone', 6600)], [false, true], 'no longer in the store');
  });
});
