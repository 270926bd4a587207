import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { callerAddresses, completeAddress, listenAddressFor, ownAddress } from './addresses.ts';

describe('addresses of a node', () => {
  for (const [text, expected] of [
    ['192.0.2.7', '192.0.2.7:2377'],
    ['192.0.2.7:99', '192.0.2.7:99'],
    ['fd77::1', '[fd77::1]:2377'],
    ['[fd77::1]', '[fd77::1]:2377'],
    ['[fd77::1]:99', '[fd77::1]:99'],
    ['lo', '127.0.0.1:2377'],
    ['host.example', 'host.example:2377'],
  ] as const)
    it(`"${text}" is ${expected}`, () => assert.equal(completeAddress(text, 2377, '--listen-addr'), expected));

  for (const text of ['', 'fd77::1:', '[192.0.2.7', '192.0.2.7:0', '192.0.2.7:70000', 'a b'])
    it(`"${text}" is none`, () => assert.throws(() => completeAddress(text, 2377, '--listen-addr'), /--listen-addr/));

  it('that its calls may come from are those of its cards', () => {
    const at = (...addresses: readonly string[]) => addresses.map((address) => ({ address }) as NetworkInterfaceInfo);
    const interfaces = {
      lo: at('127.0.0.1', '::1'),
      eth1: at('fd77::1', 'fe80::1'),
      eth0: at('192.0.2.7'),
      'ts-mesh': at('10.0.0.1'),
    };
    assert.deepEqual(callerAddresses(interfaces), ['192.0.2.7', 'fd77::1']);
  });

  it('are listened to over IPv6 where others use it, and left as they were named', () => {
    assert.equal(listenAddressFor('[fd77::1]:2377'), '[::]:2377');
    assert.equal(listenAddressFor('192.0.2.7:2377'), '0.0.0.0:2377');
    assert.equal(ownAddress('[fd77::1]:99'), '[fd77::1]:99');
  });
});
