import assert from 'node:assert/strict';
import { network, node } from '../../test/builders/objects.ts';
import { networkSpec } from '../../test/builders/specs.ts';
import { allocateOverlay } from './overlay.ts';

const overlay = (name: string, change = {}) =>
  network(name, { spec: { ...networkSpec(name), driver: 'overlay' }, ...change });
const reachable = (id: string, change = {}) => ({
  ...node(id, {}, { description: { overlay: { address: '192.0.2.1', port: 4789 } } }),
  ...change,
});

describe('what overlay networks are given', () => {
  it('is an identifier of its own, from 4096 on, for those only', () => {
    const networks = [...Array.from({ length: 2000 }, (_, index) => overlay(`n${index}`)), network('local')];
    const given = allocateOverlay(networks, []).networks.map(({ vni }) => vni ?? 0);
    assert.equal(given.length, 2000);
    assert.equal(new Set(given).size, 2000);
    assert.ok(given.every((vni) => vni >= 4096 && vni < 2 ** 24));
  });

  it('keeps what was given, and passes a taken one on', () => {
    const [first] = allocateOverlay([overlay('a')], []).networks;
    assert.ok(first?.vni !== undefined);
    assert.deepEqual(allocateOverlay([first], []).networks, []);
    const other = overlay('other', { vni: first.vni });
    assert.deepEqual(
      allocateOverlay([other, overlay('a')], []).networks.map(({ vni }) => vni),
      [first.vni + 1],
    );
    assert.deepEqual(allocateOverlay([overlay('a', { pendingDelete: true })], []).networks, []);
  });

  it('is an address in the mesh for each node that can be reached', () => {
    const [first, second] = allocateOverlay([], [reachable('a'), reachable('b'), node('c')]).nodes;
    assert.equal(first?.meshAddress, '169.254.192.1');
    assert.equal(second?.meshAddress, '169.254.192.2');
    // The first has left: its address is given again as late as possible.
    const later = allocateOverlay([], [second, reachable('d')]).nodes;
    assert.deepEqual(
      later.map(({ id, meshAddress }) => [id, meshAddress]),
      [['d', '169.254.192.3']],
    );
  });
});
