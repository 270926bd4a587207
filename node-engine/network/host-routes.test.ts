import { deepEqual, equal } from 'node:assert/strict';
import { formatIpSubnet, readIpSubnet } from '../../base/ip-address.ts';
import type { IpSubnet } from '../../base/ip-address.ts';
import { parseIpv6Routes, parseRoutes, routeWithin } from './host-routes.ts';

const ROUTES = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	014DA8C0	0003	0	0	0	00000000	0	0	0
eth0	004DA8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
ts-abcdefghij	0000D20A	00000000	0001	0	0	0	00FFFFFF	0	0	0
`;
const zeros = '0'.repeat(32);
const IPV6_ROUTES = `fd770000000000000000000000000000 40 ${zeros} 00 ${zeros} 00000100 00000001 00000000 00000001     wire
fe800000000000000000000000000000 40 ${zeros} 00 ${zeros} 00000100 00000001 00000000 00000001     wire
${zeros} 00 ${zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     wire
00000000000000000000000000000001 80 ${zeros} 00 ${zeros} 00000000 00000002 00000000 80200001       lo
ff000000000000000000000000000000 08 ${zeros} 00 ${zeros} 00000100 00000002 00000000 00000001     wire
`;

describe("the node's routes", () => {
  it('are those to subnets, but for our own', () => {
    const texts = [...parseRoutes(ROUTES), ...parseIpv6Routes(IPV6_ROUTES)].map(
      ({ subnet, device }) => `${formatIpSubnet(subnet)} ${device}`,
    );
    deepEqual(texts, ['192.168.77.0/24 eth0', '10.0.0.0/8 tun0', 'fd77::/64 wire']);
  });
  for (const [subnet, expected] of [
    ['192.168.77.0/24', 'eth0'],
    ['192.168.0.0/16', 'eth0'],
    ['192.168.77.0/25', undefined],
    ['10.5.0.0/24', undefined],
    ['10.0.0.0/8', 'tun0'],
  ] as const)
    it(`${expected === undefined ? 'leave' : 'take'} packets to ${subnet} ${expected === undefined ? 'alone' : 'elsewhere'}`, () =>
      equal(routeWithin(readIpSubnet(subnet) as IpSubnet, parseRoutes(ROUTES))?.device, expected));
});
