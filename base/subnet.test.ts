import assert from 'node:assert/strict';
import { addressValue, encloses, isWithin, parseRange, rangesOverlap } from './subnet.ts';
import type { AddressRange } from './subnet.ts';

const range = (cidr: string): AddressRange => {
  const found = parseRange(cidr);
  assert.ok(found, cidr);
  return found;
};

describe('subnets', () => {
  it('are read with the bits of the host part left out', () => {
    assert.deepEqual(range('10.1.2.3/16'), { family: 4, first: 0x0a010000n, last: 0x0a01ffffn, prefix: 16 });
    assert.deepEqual(range('fd00::5/127'), {
      family: 6,
      first: 0xfd000000000000000000000000000004n,
      last: 0xfd000000000000000000000000000005n,
      prefix: 127,
    });
    for (const text of ['10.1.2.3', '10.1.2.3/33', '10.1.2/24', 'fd00::/129', '/24', '10.1.2.3/', 'fe80::1%eth0/64'])
      assert.equal(parseRange(text), undefined, text);
  });

  it('are told apart by family', () => {
    assert.ok(rangesOverlap(range('10.1.0.0/16'), range('10.1.9.0/24')));
    assert.ok(!rangesOverlap(range('10.1.0.0/24'), range('10.1.1.0/24')));
    assert.ok(!rangesOverlap(range('0.0.0.0/0'), range('::/0')));
    assert.ok(encloses(range('10.1.0.0/16'), range('10.1.9.0/24')));
    assert.ok(!encloses(range('10.1.9.0/24'), range('10.1.0.0/16')));
    assert.ok(isWithin(range('10.1.0.0/16'), '10.1.255.255'));
    assert.ok(!isWithin(range('10.1.0.0/16'), '10.2.0.0'));
    assert.ok(!isWithin(range('::/0'), '10.2.0.0'));
  });

  it('hold addresses in every way they are written', () => {
    assert.equal(addressValue('::'), 0n);
    assert.equal(addressValue('1::'), 1n << 112n);
    assert.equal(addressValue('::ffff:192.0.2.1'), 0xffffc0000201n);
    assert.equal(addressValue('2001:db8:0:0:0:0:0:1'), addressValue('2001:db8::1'));
    assert.equal(addressValue('nonsense'), undefined);
  });
});
