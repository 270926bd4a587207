import { deepEqual, equal, throws } from 'node:assert/strict';
import { ipBytes, ipText } from './ip-bytes.ts';

describe('IP addresses as bytes', () => {
  it('go there and back', () => {
    deepEqual([...ipBytes('10.1.2.255')], [10, 1, 2, 255]);
    for (const [given, canonical] of [
      ['::', '::'],
      ['::1', '::1'],
      ['fd00::', 'fd00::'],
      ['FD00:0:0:1::a', 'fd00:0:0:1::a'],
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6'],
      ['2001:db8::192.0.2.1', '2001:db8::c000:201'],
      ['192.0.2.7', '192.0.2.7'],
    ] as const)
      equal(ipText(ipBytes(given)), canonical);
  });

  it('refuse what is none', () => {
    for (const bad of ['', 'a', '1.2.3', 'fe80::1%eth0', '::1::'])
      throws(() => ipBytes(bad), { code: 'INVALID_INPUT' }, bad);
  });
});
