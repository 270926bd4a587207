import { deepEqual, equal, throws } from 'node:assert/strict';
import { isIP } from 'node:net';
import { formatIp, formatIpBytes, formatIpSubnet, ipBytes, parseIp, readIp, readIpSubnet } from './ip-address.ts';
import { seededRandom } from './random.ts';

describe('IP addresses', () => {
  for (const [text, canonical] of [
    ['0.0.0.0', '0.0.0.0'],
    ['10.128.0.255', '10.128.0.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['FD00:0:0:1:0:0:0:5', 'fd00:0:0:1::5'],
    ['fd00:0:0:1::5', 'fd00:0:0:1::5'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:1:1', '2001::1:0:0:1:1'],
    ['fe80::', 'fe80::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ] as const)
    it(`"${text}" is "${canonical}"`, () => {
      const found = readIp(text);
      equal(found && formatIp(found.value, found.family), canonical);
      equal(formatIpBytes(ipBytes(text)), canonical);
    });
  it('are what Node takes for addresses, and no more', () => {
    const random = seededRandom(11);
    const pieces = ['1', 'ffff', '::', ':', '0', '10.1.2.3', '256.1.1.1', 'g', '00000', '.', 'fd00', '12345', ''];
    for (let i = 0; i < 20_000; i++) {
      const text = Array.from(
        { length: 1 + Math.floor(random.next() * 9) },
        () => pieces[Math.floor(random.next() * pieces.length)] ?? '',
      ).join(random.next() < 0.8 ? ':' : '.');
      // Node takes leading zeros for an error, as we do not where they are short.
      if (/(^|\.)0\d/.test(text)) continue;
      equal(readIp(text)?.family ?? 0, isIP(text), text);
    }
  });
  it('of the other family are refused by name', () => {
    throws(() => parseIp('fd00::1', 4), /reading address "fd00::1": not an IPv4 address/);
    throws(() => parseIp('10.0.0.1', 6), /not an IPv6 address/);
  });
});

describe('subnets', () => {
  for (const [text, canonical] of [
    ['10.1.2.3/24', '10.1.2.0/24'],
    ['fd12:3456::5/64', 'fd12:3456::/64'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['10.1.2.0/33', undefined],
    ['fd00::/129', undefined],
    ['10.1.2.0', undefined],
  ] as const)
    it(`"${text}" is ${canonical ?? 'none'}`, () => {
      const found = readIpSubnet(text);
      deepEqual(found && formatIpSubnet(found), canonical);
    });
});
