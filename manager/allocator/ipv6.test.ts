import { deepEqual, equal } from 'node:assert/strict';
import type { NetworkId, ServiceId, TaskId } from '../../base/ids.ts';
import type { Network, NetworkAttachment, Task } from '../../proto/types/index.ts';
import { network as networkOf, service, task as taskOf } from '../../test/builders/objects.ts';
import { allocate } from './allocate.ts';

const ID = 'n1' as NetworkId;

function network(ipv6: Network['spec']['ipv6'], spec: Partial<Network['spec']> = {}): Network {
  const base = networkOf('net');
  return {
    ...base,
    id: ID,
    subnet: '',
    gateway: '',
    spec: { ...base.spec, name: 'net', subnet: '10.9.0.0/24', ...(ipv6 ? { ipv6 } : {}), ...spec },
  };
}

function task(name: string, attachment: Partial<NetworkAttachment> = {}, change: Partial<Task> = {}): Task {
  const base = taskOf(service('web'), 1);
  const networks = [{ network: 'net', aliases: [], ipv4Address: '', ...attachment }];
  return {
    ...base,
    id: name as TaskId,
    name,
    serviceId: 's' as ServiceId,
    slot: 1,
    held: false,
    addresses: [],
    ports: [],
    status: { ...base.status, state: 'new', message: '' },
    desiredState: 'running',
    spec: { ...base.spec, networkMode: 'networks', networks },
    ...change,
  };
}

function allocated(net: Network, ...tasks: readonly Task[]) {
  const found = allocate({ cluster: undefined, networks: [net], services: [], tasks }, 5);
  return found.tasks.map(({ addresses, status }) => addresses[0]?.ipv6 ?? addresses[0]?.ipv4 ?? status.message);
}

describe('IPv6 addresses of tasks', () => {
  const ipv6 = { subnet: 'fd00:9::/64', gateway: '', ipRange: '' };
  const cases: readonly (readonly [string, Network, readonly Task[], readonly string[]])[] = [
    ['are none on a network without', network(undefined), [task('a')], ['10.9.0.2']],
    ['have the place of the IPv4 address', network(ipv6), [task('a', { ipv4Address: '10.9.0.77' })], ['fd00:9::4d']],
    ['are as the user says', network(ipv6), [task('a', { ipv6Address: 'fd00:9::BEEF' })], ['fd00:9::beef']],
    [
      'are not those that somebody else has',
      network(ipv6),
      [task('a', { ipv6Address: 'fd00:9::4d' }), task('b', { ipv4Address: '10.9.0.77' })],
      ['fd00:9::4d', 'fd00:9::4e'],
    ],
    [
      "are not the gateway's, nor auxiliary ones",
      network({ ...ipv6, gateway: 'fd00:9::4d' }, { auxiliaryAddresses: { router: 'fd00:9::4e' } }),
      [task('a', { ipv4Address: '10.9.0.77' })],
      ['fd00:9::4f'],
    ],
    [
      'come from the range',
      network({ ...ipv6, ipRange: 'fd00:9:0:0:8000::/65' }),
      [task('a', { ipv4Address: '10.9.0.5' })],
      ['fd00:9::8000:0:0:5'],
    ],
    [
      'that a user fixed must be of the subnet',
      network(ipv6),
      [task('a', { ipv6Address: 'fd00:8::1' })],
      ["address fd00:8::1 is not in the network's subnet fd00:9::/64"],
    ],
    [
      'that a user fixed need a network with IPv6',
      network(undefined),
      [task('a', { ipv6Address: 'fd00:9::5' })],
      ['address fd00:9::5 is of IPv6, which the network does not have'],
    ],
    [
      'that a user fixed are given once',
      network(ipv6),
      [task('a', { ipv6Address: 'fd00:9::5' }), task('b', { ipv6Address: 'fd00:9::5' }, { slot: 2 })],
      ['fd00:9::5', 'address fd00:9::5 is taken by a'],
    ],
    [
      'that a user fixed pass on in the slot',
      network(ipv6),
      [task('a', { ipv6Address: 'fd00:9::5' }), task('b', { ipv6Address: 'fd00:9::5' })],
      ['fd00:9::5', 'fd00:9::5'],
    ],
  ];
  for (const [title, net, tasks, expected] of cases) it(title, () => deepEqual(allocated(net, ...tasks), expected));

  it('leave auxiliary addresses of IPv4 alone, too', () => {
    const net = network(undefined, { auxiliaryAddresses: { printer: '10.9.0.2', scanner: '10.9.0.3' } });
    deepEqual(allocated(net, task('a')), ['10.9.0.4']);
    equal(
      allocated(net, task('a', { ipv4Address: '10.9.0.3' }))[0],
      'address 10.9.0.3 is taken by the gateway or as an auxiliary address',
    );
  });
  it('come to an end', () => {
    const net = network({ ...ipv6, subnet: 'fd00:9::/126' });
    deepEqual(allocated(net, task('a'), task('b'), task('c')), [
      'fd00:9::2',
      'fd00:9::3',
      'network "net" has no free IPv6 address in fd00:9::/126',
    ]);
  });
});
