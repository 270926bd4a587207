import { deepEqual, equal } from 'node:assert/strict';
import { endianness } from 'node:os';
import type { NetlinkMessage } from './netlink.ts';
import { attributes, readText, readU32 } from './netlink.ts';
import {
  addAddress,
  addressesOf,
  createBridge,
  createVeth,
  linksOf,
  setDefaultRoute,
  setNoLinkLocal,
} from './route.ts';

/** A request's body read as the kernel's answer of the same type: both have the same form. */
function echo({ type, body }: NetlinkMessage): { type: number; sequence: number; body: Buffer } {
  return { type, sequence: 1, body };
}

describe('rtnetlink requests', () => {
  it('describe a bridge', () => {
    deepEqual(linksOf([echo(createBridge('ts-abc', '02:42:0a:80:00:01', 1450))]), [
      {
        index: 0,
        name: 'ts-abc',
        up: false,
        mtu: 1450,
        master: 0,
        kind: 'bridge',
        alias: '',
        peer: 0,
        group: 0,
        mac: '02:42:0a:80:00:01',
      },
    ]);
  });
  it('describe a pair of interfaces, the other end not up yet', () => {
    const request = createVeth({
      index: 100,
      name: 'eth0',
      mac: '02:42:0a:80:00:05',
      mtu: 1500,
      group: 7,
      peerName: 'tsvpeer0',
      peerNetns: 17,
    });
    const [link] = linksOf([echo(request)]);
    deepEqual([link?.index, link?.name, link?.up, link?.kind], [100, 'eth0', true, 'veth']);
    const info = attributes(attributes(request.body, 16).get(18) ?? Buffer.alloc(0), 0);
    const peer = attributes(info.get(2) ?? Buffer.alloc(0), 0).get(1) ?? Buffer.alloc(0);
    equal(readU32(peer, 8), 0, 'flags of the peer');
    equal(readText(attributes(peer, 16).get(3)), 'tsvpeer0');
    equal(readU32(attributes(peer, 16).get(28) ?? Buffer.alloc(4), 0), 17);
  });
  it('describe an address with its broadcast address', () => {
    const request = addAddress({ linkIndex: 7, ipv4: '10.128.1.5', prefix: 24 });
    deepEqual(addressesOf([echo(request)]), [{ linkIndex: 7, ipv4: '10.128.1.5', prefix: 24 }]);
    deepEqual(attributes(request.body, 8).get(4), Buffer.from([10, 128, 1, 255]));
  });
  it('keep a link from making an IPv6 address', () => {
    const { body } = setNoLinkLocal('tsvpeer0');
    equal(readText(attributes(body, 16).get(3)), 'tsvpeer0');
    const families = attributes(attributes(body, 16).get(26) ?? Buffer.alloc(0), 0);
    deepEqual(attributes(families.get(10) ?? Buffer.alloc(0), 0).get(8), Buffer.from([1]));
  });
  it('describe a default route, byte for byte', () => {
    if (endianness() !== 'LE') return;
    equal(
      setDefaultRoute('10.128.1.1', 7).body.toString('hex'),
      '02000000fe030001' + '00000000' + '080005000a800101' + '0800040007000000',
    );
  });
});
