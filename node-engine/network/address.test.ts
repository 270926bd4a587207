import { deepEqual, equal, throws } from 'node:assert/strict';
import { formatIpv4, formatSubnet, macOf, overlap, parseIpv4, parseSubnet } from './address.ts';
import { bridgeName, formatAlias, parseAlias, vethName } from './names.ts';
import type { ContainerId, NetworkId } from '../../base/ids.ts';

describe('addresses', () => {
  for (const ipv4 of ['0.0.0.0', '10.128.0.5', '255.255.255.255'])
    it(`${ipv4} is read and written`, () => equal(formatIpv4(parseIpv4(ipv4)), ipv4));
  for (const wrong of ['', '10.0.0', '10.0.0.256', '::1', '10.0.0.1/8'])
    it(`"${wrong}" is refused`, () => throws(() => parseIpv4(wrong), { code: 'INVALID_INPUT' }));
  for (const [cidr, expected] of [
    ['10.128.0.77/24', '10.128.0.0/24'],
    ['200.1.2.3/0', '0.0.0.0/0'],
    ['200.1.2.3/32', '200.1.2.3/32'],
  ] as const)
    it(`the subnet of ${cidr} is ${expected}`, () => equal(formatSubnet(parseSubnet(cidr)), expected));
  for (const wrong of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', 'x/8'])
    it(`"${wrong}" is no subnet`, () => throws(() => parseSubnet(wrong), { code: 'INVALID_INPUT' }));
  for (const [one, other, expected] of [
    ['10.0.0.0/8', '10.128.0.0/24', true],
    ['10.128.0.0/24', '10.0.0.0/8', true],
    ['10.128.0.0/24', '10.128.1.0/24', false],
  ] as const)
    it(`${one} and ${other} overlap: ${expected}`, () =>
      equal(overlap(parseSubnet(one), parseSubnet(other)), expected));
  it('give hardware addresses as Docker makes them', () => equal(macOf('172.17.0.2'), '02:42:ac:11:00:02'));
});

describe('names of interfaces', () => {
  const network = 'abcdefghijklmnopqrstuvwxy' as NetworkId;
  it('fit into the 15 characters of the kernel', () => {
    equal(bridgeName(network), 'ts-abcdefghij');
    for (const id of ['0', 'f', '7'].map((digit) => digit.repeat(64) as ContainerId))
      equal(vethName(id, 35).length, 14);
  });
  it('differ between containers and between interfaces of one', () => {
    const names = ['a'.repeat(64), 'b'.repeat(64)].flatMap((id) => [0, 1].map((n) => vethName(id as ContainerId, n)));
    equal(new Set(names).size, 4);
  });
  for (const internal of [true, false])
    it(`a bridge says whose it is (internal: ${internal})`, () => {
      const alias = { instance: 'x1', networkId: network, internal };
      deepEqual(parseAlias(formatAlias(alias)), alias);
    });
  for (const other of ['', 'tsswarm', 'uplink to the office', 'tsswarm a b c'])
    it(`"${other}" is not one of ours`, () => equal(parseAlias(other), undefined));
});
