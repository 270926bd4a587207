import assert from 'node:assert/strict';
import { formatLocation, isTsswarmError } from '../../base/errors.ts';
import { convertProject } from '../convert/convert.ts';
import { loadYaml as load } from '../../test/builders/compose-project.ts';

const convert = async (yaml: string) => convertProject(await load(yaml), { files: new Map(), scale: {} }).desired;

const NETWORKS = `
networks:
  front:
    enable_ipv6: true
    ipam:
      config:
        - {subnet: 10.5.0.0/16, gateway: 10.5.0.254, ip_range: 10.5.1.0/24, aux_addresses: {printer: 10.5.1.9}}
        - {subnet: "fd00:5::/64", gateway: "fd00:5::fe", ip_range: "fd00:5::/80", aux_addresses: {scanner: "fd00:5::9"}}
  back: {enable_ipv6: true, internal: true}
  plain: {}
`;

describe('networks of a compose file', () => {
  it('have the addresses of both families that it gives them', async () => {
    const { networks } = await convert(`services: {a: {image: x, networks: [front, back, plain]}}${NETWORKS}`);
    const [back, front, plain] = [...networks].sort((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(
      [front?.subnet, front?.gateway, front?.ipRange, front?.ipv6, front?.auxiliaryAddresses],
      [
        '10.5.0.0/16',
        '10.5.0.254',
        '10.5.1.0/24',
        { subnet: 'fd00:5::/64', gateway: 'fd00:5::fe', ipRange: 'fd00:5::/80' },
        { printer: '10.5.1.9', scanner: 'fd00:5::9' },
      ],
    );
    assert.deepEqual([back?.ipv6, back?.subnet], [{ subnet: '', gateway: '', ipRange: '' }, '']);
    assert.equal(plain?.ipv6, undefined);
  });

  it('are on a card of the nodes where the driver says so', async () => {
    const of = async (network: string) =>
      (await convert(`services: {a: {image: x, networks: [lan]}}\nnetworks: {lan: ${network}}`)).networks[0];
    const lan = await of(
      '{driver: macvlan, driver_opts: {parent: eth0.10, macvlan_mode: vepa}, ipam: {config: [{subnet: 192.0.2.0/24}]}}',
    );
    assert.deepEqual([lan?.driver, lan?.options, lan?.subnet], ['macvlan', { parent: 'eth0.10', macvlan_mode: 'vepa' }, '192.0.2.0/24']); // prettier-ignore
    const refused = (network: string, reason: RegExp) => assert.rejects(of(network), { message: reason });
    await refused('{driver: macvlan}', /"networks\.lan\.driver" "macvlan" needs "parent" among driver_opts/);
    await refused('{driver: macvlan, driver_opts: {parent: eth0, macvlan_mode: l2}}', /"l2", expected bridge, private/);
    await refused('{driver: ipvlan, driver_opts: {parent: eth0.5000}}', /there is no VLAN 5000, expected 1 to 4094/);
    await refused('{driver: ipvlan, driver_opts: {parent: eth0, macvlan_mode: vepa}}', /macvlan_mode.*not supported/);
    await refused('{driver: overlay, driver_opts: {parent: eth0}}', /parent.*not supported/);
  });

  it('are attached from the highest priority on, with what each interface is given', async () => {
    const { services } = await convert(`services:
  a:
    image: x
    mac_address: 02:42:AC:11:65:43
    networks:
      plain: {aliases: [a1]}
      back: {priority: 10, interface_name: lan0, ipv6_address: "fd00::7"}
      front: {priority: 5, gw_priority: 3, ipv4_address: 10.5.1.7, mac_address: "02:00:00:00:00:01"}
${NETWORKS}`);
    const attachment = { aliases: [], ipv4Address: '' };
    assert.deepEqual(services[0]?.task.networks, [
      {
        ...attachment,
        network: 'shop_back',
        ipv6Address: 'fd00::7',
        macAddress: '02:42:ac:11:65:43',
        priority: 10,
        interfaceName: 'lan0',
      },
      {
        ...attachment,
        network: 'shop_front',
        ipv4Address: '10.5.1.7',
        macAddress: '02:00:00:00:00:01',
        priority: 5,
        gatewayPriority: 3,
      },
      { ...attachment, network: 'shop_plain', aliases: ['a1'] },
    ]);
  });

  it('lead to linked services, which start before', async () => {
    const { services } = await convert(`services:
  web: {image: x, links: ["db:database", cache], depends_on: {cache: {condition: service_healthy}}}
  db: {image: x}
  cache: {image: x, healthcheck: {test: [CMD, "true"]}}
`);
    const web = services.find(({ composeName }) => composeName === 'web');
    assert.deepEqual(web?.task.links, [{ service: 'db', alias: 'database' }]);
    assert.deepEqual(web?.dependsOn.map(({ service, condition }) => `${service} ${condition}`).sort(), [
      'cache healthy',
      'db started',
    ]);
  });

  const service = (lines: string): string => `services:\n  a:\n    image: x\n    ${lines}\n`;
  const network = (lines: string): string =>
    `services: {a: {image: x, networks: [n]}}\nnetworks:\n  n:\n    ${lines}\n`;
  for (const [yaml, place, message] of [
    [network('ipam: {config: [{subnet: 10.1.0.0}]}'), '4:30', /subnet" is "10.1.0.0", expected one such as/],
    [network('ipam: {config: [{gateway: 10.1.0.1}]}'), '4:31', /gateway" needs a subnet/],
    [
      network('ipam: {config: [{subnet: 10.1.0.0/24, aux_addresses: {r: 10.2.0.1}}]}'),
      '4:43',
      /aux_addresses" has "10.2.0.1" for "r", expected an address of the subnet/,
    ],
    [
      network('ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 10.2.0.0/24}]}'),
      '4:53',
      /subnet" is the second of IPv4: a network has one/,
    ],
    [network('ipam: {config: [{subnet: "fd00::/64"}]}'), '4:30', /is of IPv6, which the network does not have/],
    [network('enable_ipv4: false'), '4:18', /enable_ipv4" false: a network without IPv4 is not supported yet/],
    [service('mac_address: nonsense'), '4:18', /mac_address" is "nonsense", expected one host's/],
    [service('network_mode: host\n    mac_address: 02:42:ac:11:65:43'), '5:18', /"network_mode: host" has none/],
    [service('links: ["a:b:c"]'), '4:13', /links\[0\]" is "a:b:c", expected "service" or "service:alias"/],
    [service('networks: {default: {interface_name: a/b}}'), '4:42', /interface_name" is "a\/b"/],
    [service('networks: {default: {driver_opts: {a: b}}}'), '4:26', /driver_opts" is not supported yet/],
  ] as const)
    it(`${message.source} is said at ${place}`, async () => {
      await assert.rejects(load(yaml), (error) => {
        assert.ok(isTsswarmError(error));
        assert.match(error.message, message);
        assert.equal(error.where && formatLocation(error.where), `/shop/compose.yaml:${place}`);
        return true;
      });
    });
});
