import assert from 'node:assert/strict';
import { network, node } from '../../test/builders/objects.ts';
import { networkSpec } from '../../test/builders/specs.ts';
import { networkOn } from './node-parents.ts';

const on = (parent: string, labels: Record<string, string>, driver = 'macvlan') => {
  const asked = network('a', { spec: { ...networkSpec('a'), driver, options: { parent, macvlan_mode: 'vepa' } } });
  const of = node('n');
  const labelled = { ...of, spec: { ...of.spec, labels } };
  return { asked, told: networkOn(asked, labelled), again: networkOn(asked, labelled) };
};

describe('the card of a network', () => {
  for (const { title, parent, labels, expected } of [
    { title: 'is the one that is named', parent: 'eth0', labels: {}, expected: 'eth0' },
    {
      title: 'is what a label of the node says',
      parent: 'lan',
      labels: { 'parent.lan': 'enp3s0' },
      expected: 'enp3s0',
    },
    { title: 'is below a VLAN, too', parent: 'lan.10', labels: { 'parent.lan': 'enp3s0' }, expected: 'enp3s0.10' },
    { title: 'may be named with its VLAN', parent: 'lan.10', labels: { 'parent.lan.10': 'bond0' }, expected: 'bond0' },
    { title: 'is not what an empty label says', parent: 'lan', labels: { 'parent.lan': '' }, expected: 'lan' },
  ])
    it(title, () => {
      const { asked, told, again } = on(parent, labels);
      assert.deepEqual(told.spec.options, { parent: expected, macvlan_mode: 'vepa' });
      assert.equal(told, again);
      assert.equal(told === asked, expected === parent);
    });

  it('is nothing that other drivers have', () => {
    const { asked, told } = on('lan', { 'parent.lan': 'enp3s0' }, 'overlay');
    assert.equal(told, asked);
  });
});
