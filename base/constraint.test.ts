import assert from 'node:assert/strict';
import { addressTest, parseConstraint, parseSpread } from './constraint.ts';

describe('parseConstraint()', () => {
  for (const [text, key, operator, value] of [
    ['node.labels.disk==ssd', 'node.labels.disk', '==', 'ssd'],
    ['  node.role != manager ', 'node.role', '!=', 'manager'],
    ['NODE.Labels.Disk == SSD', 'node.labels.Disk', '==', 'SSD'],
    ['engine.labels.com.example.os==alpine 3.21', 'engine.labels.com.example.os', '==', 'alpine 3.21'],
    ['node.ip==10.1.0.0/16', 'node.ip', '==', '10.1.0.0/16'],
    ['node.ip!=fd00::1', 'node.ip', '!=', 'fd00::1'],
  ] as const) {
    it(`reads "${text}"`, () => assert.deepEqual(parseConstraint(text), { key, operator, value }));
  }
  for (const [text, fault] of [
    ['node.labels.disk=ssd', 'has no operator, expected == or !='],
    ['node.labels.disk==', 'has no value'],
    ['node.labels.disk==a@b', 'has the value "a@b"'],
    ['node.labels.a==b==c', 'has the value "b==c"'],
    ['9x==1', 'has the key "9x", expected letters'],
    ['node.disk==ssd', 'has the key "node.disk", expected node.id'],
    ['node.labels.==ssd', 'has the key "node.labels.", expected node.id'],
    ['node.role==boss', 'has the role "boss", expected manager or worker'],
    ['node.ip==10.1.0.0/40', 'has the address "10.1.0.0/40"'],
    ['node.ip==10.1', 'has the address "10.1"'],
  ] as const) {
    it(`says what is wrong with "${text}"`, () => {
      const parsed = parseConstraint(text);
      assert.ok(typeof parsed === 'string' && parsed.startsWith(fault), String(parsed));
    });
  }
});

describe('addressTest()', () => {
  for (const [text, address, fits] of [
    ['10.1.0.0/16', '10.1.255.3', true],
    ['10.1.0.0/16', '10.2.0.1', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['0.0.0.0/0', '192.0.2.1', true],
    ['0.0.0.0/0', '', false],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', '10.1.2.3', false],
  ] as const) {
    it(`"${address}" ${fits ? 'is' : 'is not'} of ${text}`, () => assert.equal(addressTest(text)?.(address), fits));
  }
});

describe('parseSpread()', () => {
  it('reads labels of nodes and engines', () => {
    assert.deepEqual(parseSpread('node.labels.zone'), { of: 'node', label: 'zone' });
    assert.deepEqual(parseSpread('Engine.Labels.Rack'), { of: 'engine', label: 'Rack' });
  });
  it('refuses what is no label', () => {
    for (const text of ['node.hostname', 'zone', 'node.labels.'])
      assert.equal(typeof parseSpread(text), 'string', text);
  });
});
