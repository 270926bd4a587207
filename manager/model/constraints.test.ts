import assert from 'node:assert/strict';
import { node } from '../../test/builders/objects.ts';
import { nodeTest } from './constraints.ts';

const a = node(
  'idA',
  { disk: 'SSD', Zone: 'b' },
  {
    spec: { role: 'manager' },
    description: {
      hostname: 'Alpha',
      platform: { os: 'linux', architecture: 'amd64' },
      engine: { version: '1', labels: { gpu: 'yes' } },
    },
    status: { address: '10.1.2.3:2377' },
  },
);

describe('nodeTest()', () => {
  for (const [text, matches] of [
    ['node.id==ida', true],
    ['node.id!=ida', false],
    ['node.hostname == alpha', true],
    ['node.hostname==beta', false],
    ['node.role==Manager', true],
    ['node.role!=worker', true],
    ['node.platform.os==Linux', true],
    ['node.platform.arch==amd64', true],
    ['node.platform.arch==x86_64', true],
    ['node.platform.arch==aarch64', false],
    ['node.labels.disk==ssd', true],
    ['NODE.LABELS.disk==ssd', true],
    // A label's own name is compared as it is.
    ['node.labels.Disk==ssd', false],
    ['node.labels.zone!=b', true],
    ['node.labels.Zone!=b', false],
    ['node.labels.toString!=x', true],
    ['engine.labels.gpu==yes', true],
    ['engine.labels.gpu!=yes', false],
    ['node.ip==10.1.0.0/16', true],
    ['node.ip!=10.1.0.0/16', false],
    ['node.ip==10.1.2.3', true],
    ['node.ip==10.1.2.4', false],
    // Let in by an older version: no node has it.
    ['node.colour!=red', false],
    ['nonsense', false],
  ] as const) {
    it(`${text} is ${matches}`, () => assert.equal(nodeTest(text).matches(a), matches));
  }

  it('knows a node without an address to be nowhere', () => {
    assert.equal(nodeTest('node.ip==0.0.0.0/0').matches(node('b')), false);
    assert.equal(nodeTest('node.ip!=10.0.0.0/8').matches(node('b')), true);
  });
});
