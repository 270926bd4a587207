import assert from 'node:assert/strict';
import { createDirect, createVlan, renameLink } from './direct-link.ts';
import type { DirectRequest } from './direct-link.ts';
import type { NetlinkMessage } from './netlink.ts';
import { attributes, readText, readU16, readU32 } from './netlink.ts';

const HEADER_BYTES = 16;
const REQUEST: DirectRequest = {
  link: { driver: 'macvlan', parent: 'eth0', mode: 'bridge' },
  parent: 7,
  name: 'tsv1',
  mac: '02:42:0a:80:00:05',
  mtu: 1500,
  group: 0x7473,
  netns: 21,
};

/** Numbers as linux/if_link.h has them, as iproute2 sends them. */
function read({ body }: NetlinkMessage) {
  const found = attributes(body, HEADER_BYTES);
  const info = attributes(found.get(18) ?? Buffer.alloc(0), 0);
  const data = attributes(info.get(2) ?? Buffer.alloc(0), 0);
  return {
    name: readText(found.get(3)),
    mac: found.get(1)?.toString('hex'),
    parent: readU32(found.get(5) ?? Buffer.alloc(4), 0),
    netns: found.has(28) ? readU32(found.get(28) ?? Buffer.alloc(4), 0) : undefined,
    kind: readText(info.get(1)),
    data: [...data].map(([type, value]) => [type, value.length === 2 ? readU16(value, 0) : readU32(value, 0)]),
  };
}

describe('requests for links on a card', () => {
  const common = { name: 'tsv1', parent: 7, netns: 21 };
  for (const { title, link, mac, data } of [
    { title: 'macvlan', link: { mode: 'bridge' }, mac: '02420a800005', data: [[1, 4]] },
    { title: 'macvlan, private', link: { mode: 'private' }, mac: '02420a800005', data: [[1, 1]] },
    { title: 'macvlan, vepa', link: { mode: 'vepa' }, mac: '02420a800005', data: [[1, 2]] },
    { title: 'macvlan, passthru: the address is the card', link: { mode: 'passthru' }, mac: undefined, data: [[1, 8]] },
  ] as const)
    it(title, () => {
      const message = createDirect({ ...REQUEST, link: { driver: 'macvlan', parent: 'eth0', ...link } });
      assert.deepEqual(read(message), { ...common, kind: 'macvlan', mac, data });
    });
  for (const { mode, flag, data } of [
    { mode: 'l2', flag: 'bridge', data: [[1, 0], [2, 0]] }, // prettier-ignore
    { mode: 'l3', flag: 'private', data: [[1, 1], [2, 1]] }, // prettier-ignore
    { mode: 'l3s', flag: 'vepa', data: [[1, 2], [2, 2]] }, // prettier-ignore
  ] as const)
    it(`ipvlan, ${mode}, ${flag}: the address is the card's`, () => {
      const message = createDirect({ ...REQUEST, link: { driver: 'ipvlan', parent: 'eth0', mode, flag } });
      assert.deepEqual(read(message), { ...common, kind: 'ipvlan', mac: undefined, data });
    });
  it('a VLAN, and a name', () => {
    const { kind, name, parent, data } = read(createVlan('eth0.10', 10, 7, 0x7473));
    assert.deepEqual([kind, name, parent, data], ['vlan', 'eth0.10', 7, [[1, 10]]]);
    const { body } = renameLink(101, 'lan0');
    assert.deepEqual([readU32(body, 4), readText(attributes(body, HEADER_BYTES).get(3))], [101, 'lan0']);
  });
});
