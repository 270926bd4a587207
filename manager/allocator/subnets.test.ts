import { deepEqual, equal, match, notEqual } from 'node:assert/strict';
import type { Cluster, Network, Node } from '../../proto/types/index.ts';
import { network as networkOf } from '../../test/builders/objects.ts';
import { RestingSubnets } from './resting.ts';
import { allocateSubnets, uniqueLocalPrefix } from './subnets.ts';

type Spec = Partial<Network['spec']>;

function network(name: string, spec: Spec, allocated: Partial<Network> = {}): Network {
  const base = networkOf(name);
  return {
    ...base,
    id: name as Network['id'],
    subnet: '',
    gateway: '',
    ...allocated,
    spec: { ...base.spec, name, ...spec },
  };
}

const cluster = (addressPools: readonly string[], addressPoolPrefix = 24): Cluster =>
  ({ id: 'c1', spec: { addressPools, addressPoolPrefix } }) as unknown as Cluster;
const node = (...routes: readonly string[]): Node => ({ description: { routes } }) as unknown as Node;

describe('subnets of networks', () => {
  const taken = network(
    'other',
    {},
    { subnet: '10.210.0.0/24', ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::1' } },
  );
  const cases: readonly (readonly [string, Spec, Cluster, readonly Node[], string | undefined])[] = [
    ['are the first free ones of the pools', {}, cluster([]), [], '10.210.1.0/24'],
    ['come from the pools of the cluster', {}, cluster(['10.5.0.0/16'], 20), [], '10.5.0.0/20'],
    ['come from the next pool when one is used up', {}, cluster(['10.210.0.0/24', '10.6.0.0/16']), [], '10.6.0.0/24'],
    ['are none when all pools are used up', {}, cluster(['10.210.0.0/24']), [], undefined],
    ['are none in a pool that is too small', {}, cluster(['10.5.0.0/25']), [], undefined],
    [
      'keep off routes of any node',
      {},
      cluster([]),
      [node(), node('10.210.1.0/24', '10.210.2.64/26')],
      '10.210.3.0/24',
    ],
    ['keep off a pool that somebody has a route for', {}, cluster([]), [node('10.210.0.0/15')], '100.96.0.0/24'],
    [
      'lie in a wide route where there is nothing else',
      {},
      cluster(['10.5.0.0/16']),
      [node('10.0.0.0/8', '10.5.0.0/24')],
      '10.5.1.0/24',
    ],
    [
      'are what the user says, whatever routes there are',
      { subnet: '10.9.1.7/24' },
      cluster([]),
      [node('10.0.0.0/8')],
      '10.9.1.0/24',
    ],
    ["are not another network's", { subnet: '10.210.0.128/25' }, cluster([]), [], undefined],
  ];
  for (const [title, spec, inCluster, nodes, expected] of cases)
    it(title, () => equal(allocateSubnets(network('n', spec), inCluster, [taken], nodes)?.subnet, expected));

  it('are large for the network that all services share which name none', () => {
    const shared = network('bridge', { driver: 'bridge' }, { projectId: '' });
    const subnet = (pools: readonly string[], nodes: readonly Node[], prefix = 24): string | undefined =>
      allocateSubnets(shared, cluster(pools, prefix), [taken], nodes)?.subnet;
    equal(subnet([], []), '10.210.64.0/18');
    // Who names pools says how they are cut.
    equal(subnet(['10.5.0.0/16'], [], 20), '10.5.0.0/20');
    // Nothing as large is left.
    const routes = [0, 64, 128, 192].flatMap((part) => [`10.210.${part + 32}.0/24`, `10.211.${part + 32}.0/24`]);
    equal(subnet([], [node(...routes, '100.96.0.0/16')]), '10.210.1.0/24');
    // What a cluster has of before stays.
    const former = { ...shared, subnet: '10.210.7.0/24', gateway: '10.210.7.1' };
    equal(allocateSubnets(former, cluster([]), [taken], [])?.subnet, '10.210.7.0/24');
    // A project's own network may have that name.
    equal(
      allocateSubnets({ ...shared, projectId: 'p' as Network['projectId'] }, cluster([]), [taken], [])?.subnet,
      '10.210.1.0/24',
    );
  });

  it('have the gateway first, or where the user says', () => {
    equal(allocateSubnets(network('n', { subnet: '10.9.0.0/24' }), undefined, [], [])?.gateway, '10.9.0.1');
    const spec = { subnet: '10.9.0.0/24', gateway: '10.9.0.254' };
    equal(allocateSubnets(network('n', spec), undefined, [], [])?.gateway, '10.9.0.254');
  });
});

describe('subnets that networks have left', () => {
  const at = (now: number, ...subnets: readonly string[]): void =>
    resting.see(
      subnets.map((subnet) => network(subnet, {}, { subnet })),
      now,
    );
  let resting: RestingSubnets;
  beforeEach(() => (resting = new RestingSubnets()));

  it('rest for a minute, or until they are used again', () => {
    at(0, '10.210.0.0/24', '10.210.1.0/24');
    at(1000, '10.210.2.0/24');
    deepEqual(resting.list(), ['10.210.0.0/24', '10.210.1.0/24']);
    at(2000, '10.210.2.0/24', '10.210.1.0/24');
    deepEqual(resting.list(), ['10.210.0.0/24']);
    at(62_000, '10.210.2.0/24', '10.210.1.0/24');
    deepEqual(resting.list(), []);
  });

  it('are taken where no others are free', () => {
    const take = (pools: readonly string[]): string | undefined =>
      allocateSubnets(network('n', {}), cluster(pools), [], [], ['10.5.0.0/24'])?.subnet;
    equal(take(['10.5.0.0/23']), '10.5.1.0/24');
    equal(take(['10.5.0.0/24']), '10.5.0.0/24');
  });
});

describe('IPv6 subnets of networks', () => {
  const ipv6 = { subnet: '', gateway: '', ipRange: '' };
  it("come from the cluster's own part of the unique local addresses", () => {
    const prefix = uniqueLocalPrefix('c1');
    match(prefix, /^fd[0-9a-f]{2}:[0-9a-f:]+::\/48$/);
    notEqual(prefix, uniqueLocalPrefix('c2'));
    const first = allocateSubnets(network('n', { ipv6 }), cluster([]), [], []);
    equal(first?.ipv6?.subnet, prefix.replace('/48', '/64'));
    equal(first?.ipv6?.gateway, prefix.replace('/48', '1'));
    const second = allocateSubnets(network('m', { ipv6 }), cluster([]), [network('n', {}, first ?? {})], []);
    equal(second?.ipv6?.subnet, prefix.replace('::/48', ':1::/64'));
  });
  it('come from a pool of the cluster that has some', () => {
    const found = allocateSubnets(network('n', { ipv6 }), cluster(['10.5.0.0/16', 'fd00:9::/48']), [], []);
    deepEqual(found?.ipv6, { subnet: 'fd00:9::/64', gateway: 'fd00:9::1' });
  });
  it('are what the user says, and not one of another network', () => {
    const spec = { ipv6: { ...ipv6, subnet: 'fd00:1:0:0:5::/80', gateway: 'FD00:1::5:0:0:9' } };
    deepEqual(allocateSubnets(network('n', spec), cluster([]), [], [])?.ipv6, {
      subnet: 'fd00:1:0:0:5::/80',
      gateway: 'fd00:1::5:0:0:9',
    });
    const other = network('o', {}, { subnet: '10.1.0.0/24', ipv6: { subnet: 'fd00:1::/64', gateway: '' } });
    equal(allocateSubnets(network('n', spec), cluster([]), [other], []), undefined);
  });
  it('come to a network that has one of IPv4 already, which stays', () => {
    const found = allocateSubnets(network('n', { ipv6 }, { subnet: '10.77.0.0/24' }), cluster([]), [], []);
    equal(found?.subnet, '10.77.0.0/24');
  });
});
