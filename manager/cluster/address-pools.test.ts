import { doesNotThrow, throws } from 'node:assert/strict';
import { checkAddressPools } from './address-pools.ts';

describe('address pools', () => {
  for (const [pools, prefix] of [
    [[], 24],
    [['10.20.0.0/16', '10.30.0.0/16', 'fd00:1::/48'], 24],
    [['10.20.0.0/24'], 24],
    [['fd00:1::/64'], 29],
  ] as const)
    it(`${pools.join(', ') || 'none'} can be cut into /${prefix}`, () =>
      doesNotThrow(() => checkAddressPools(pools, prefix)));
  for (const [pools, prefix, reason] of [
    [['10.20.0.0'], 24, /"10.20.0.0": expected a subnet/],
    [['10.20.0.0/25'], 24, /smaller than one of the subnets cut from it, \/24/],
    [['fd00:1::/65'], 24, /smaller than one of the subnets cut from it, \/64/],
    [['10.20.0.0/16', '10.20.5.0/24'], 24, /overlaps the pool "10.20.0.0\/16"/],
    [[], 30, /prefix of "30" from address pools: expected 8 to 29/],
    [[], NaN, /expected 8 to 29/],
  ] as const)
    it(`${reason.source} is said`, () => throws(() => checkAddressPools(pools, prefix), { message: reason }));
});
