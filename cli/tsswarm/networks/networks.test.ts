import assert from 'node:assert/strict';
import type { NetworkId, NodeId, TaskId } from '../../../base/ids.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import type { Network, Task } from '../../../proto/types/index.ts';
import { T0, network, node, service, task } from '../../../test/builders/objects.ts';
import { networkSpec } from '../../../test/builders/specs.ts';
import { networkSpecOf } from './flags.ts';
import { inspectedNetwork } from './inspect.ts';
import { prunable, renderNetworks } from './list.ts';
import { pickNetwork } from './uses.ts';

const named = (id: string, name: string, change: Partial<Network['spec']> = {}): Network =>
  network(name, { id: id as NetworkId, projectId: '', spec: networkSpec(name, { name, ...change }) });
const FRONT = named('abc1', 'front', { labels: { tier: 'web', team: 'a' } });
const BACK = named('abd2', 'back', { internal: true, subnet: '10.9.0.0/24', ipRange: '10.9.0.128/25' });
const NOBODY = { services: [], tasks: [] };
const refuses = (work: () => unknown, code: ErrorCode, reason: RegExp): void =>
  assert.throws(work, (error) => {
    assert.ok(isTsswarmError(error, code), String(error));
    assert.match(error.message, reason);
    return true;
  });

describe('flags of network create', () => {
  it('describe a network of both families', () => {
    const spec = networkSpecOf('lan', {
      subnet: ['10.1.0.0/16', 'fd00:1::/64'],
      gateway: ['fd00:1::fe', '10.1.0.254'],
      ipRange: ['10.1.4.0/24'],
      auxAddress: ['router=10.1.0.9', 'six=fd00:1::9'],
      opt: ['com.docker.network.driver.mtu=1400'],
      label: ['a=b', 'c'],
      internal: true,
    });
    assert.deepEqual(spec, {
      name: 'lan',
      composeName: 'lan',
      driver: '',
      labels: { a: 'b', c: '' },
      internal: true,
      attachable: false,
      options: { 'com.docker.network.driver.mtu': '1400' },
      subnet: '10.1.0.0/16',
      gateway: '10.1.0.254',
      ipRange: '10.1.4.0/24',
      ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::fe', ipRange: '' },
      auxiliaryAddresses: { router: '10.1.0.9', six: 'fd00:1::9' },
    });
    assert.deepEqual(networkSpecOf('lan', { ipv6: true }).ipv6, { subnet: '', gateway: '', ipRange: '' });
  });

  it('that cannot be are refused', () => {
    refuses(
      () => networkSpecOf('x', { subnet: ['10.1.0.0'] }),
      'INVALID_INPUT',
      /--subnet "10.1.0.0": expected a subnet/,
    );
    refuses(
      () => networkSpecOf('x', { subnet: ['10.1.0.0/24', '10.2.0.0/24'] }),
      'NOT_SUPPORTED',
      /--subnet "10.2.0.0\/24": a network has one subnet of IPv4/,
    );
    refuses(
      () => networkSpecOf('x', { gateway: ['10.1.0.1'] }),
      'INVALID_INPUT',
      /no --subnet of IPv4 that it belongs to/,
    );
    refuses(
      () => networkSpecOf('x', { subnet: ['10.1.0.0/24'], auxAddress: ['r=10.2.0.1'] }),
      'INVALID_INPUT',
      /it is no address of a --subnet/,
    );
    refuses(() => networkSpecOf('x', { auxAddress: ['nonsense'] }), 'INVALID_INPUT', /expected <name>=<address>/);
    refuses(() => networkSpecOf('x', { scope: 'global' }), 'INVALID_INPUT', /expected local or swarm/);
  });

  it('of things that there are not are refused with the reason', () => {
    refuses(
      () => networkSpecOf('x', { ingress: true }),
      'NOT_SUPPORTED',
      /published ports need no network of their own/,
    );
    refuses(() => networkSpecOf('x', { configOnly: true }), 'NOT_SUPPORTED', /--config-only/);
    refuses(() => networkSpecOf('x', { configFrom: 'y' }), 'NOT_SUPPORTED', /--config-from/);
    refuses(() => networkSpecOf('x', { ipamDriver: 'dhcp' }), 'NOT_SUPPORTED', /--ipam-driver "dhcp"/);
    refuses(() => networkSpecOf('x', { ipamOpt: ['a=b'] }), 'NOT_SUPPORTED', /--ipam-opt/);
    refuses(() => networkSpecOf('x', { ipv4: false }), 'NOT_SUPPORTED', /every network has IPv4/);
  });
});

describe('a list of networks', () => {
  const users = {
    services: [service('web', {}, { task: { ...service('web').spec.task, networks: [on('front')] } })],
    tasks: [],
  };
  const show = (options: Parameters<typeof renderNetworks>[3]): string =>
    renderNetworks([FRONT, BACK], users, () => '', options);

  it('is Docker\u2019s table, or what is asked for', () => {
    assert.match(
      show({}),
      /^NETWORK ID +NAME +DRIVER +SCOPE\nabd2 +back +bridge +local\nabc1 +front +bridge +local\n$/,
    );
    assert.equal(show({ quiet: true }), 'abd2\nabc1\n');
    assert.equal(
      show({ format: '{{.Name}} {{.Internal}} {{.IPv6}} {{.Labels}}' }),
      'back true false \nfront false false tier=web,team=a\n',
    );
    const long = named('0123456789abcdefghijklmno', 'long');
    assert.equal(
      renderNetworks([long], NOBODY, () => '', { quiet: true }),
      '0123456789ab\n',
    );
    assert.equal(
      renderNetworks([long], NOBODY, () => '', { quiet: true, trunc: false }),
      `${long.id}\n`,
    );
  });

  it('is filtered by any part of names, by labels, and by who is used', () => {
    const ids = (...filter: readonly string[]): string => show({ quiet: true, filter }).trim().replaceAll('\n', ' ');
    assert.equal(ids('name=ron'), 'abc1');
    assert.equal(ids('id=d2'), 'abd2');
    assert.equal(ids('label=team=a', 'label=tier'), 'abc1');
    assert.equal(ids('label=team=b'), '');
    assert.equal(ids('dangling=true'), 'abd2');
    assert.equal(ids('dangling=false'), 'abc1');
    assert.equal(ids('type=builtin'), '');
    assert.equal(ids('driver=overlay'), '');
    assert.equal(ids('scope=local'), 'abd2 abc1');
    refuses(() => show({ filter: ['type=odd'] }), 'INVALID_INPUT', /expected one of builtin, custom/);
  });

  it('is pruned of those that nobody uses', () => {
    const gone = (now: number, ...filter: readonly string[]): string =>
      prunable([FRONT, BACK, named('b', 'bridge')], users, filter, now)
        .map(({ spec }) => spec.name)
        .join(' ');
    assert.equal(gone(T0), 'back');
    assert.equal(gone(T0 + 3_600_000, 'until=1h'), '');
    assert.equal(gone(T0 + 3_600_001, 'until=1h'), 'back');
    assert.equal(gone(T0, `until=${T0 / 1000 + 1}`), 'back');
    assert.equal(gone(T0, 'until=2026-01-01T00:00:00Z'), '');
    assert.equal(gone(T0, 'label=x'), '');
    assert.equal(gone(T0, 'label!=x'), 'back');
    refuses(() => gone(T0, 'until=soon'), 'INVALID_INPUT', /expected a duration such as 24h, or a time/);
  });

  it('has each by id, name, or the beginning of an id', () => {
    for (const name of ['abc1', 'front', 'abc']) assert.equal(pickNetwork([FRONT, BACK], name), FRONT);
    refuses(() => pickNetwork([FRONT, BACK], 'ab'), 'CONFLICT', /network ab is ambiguous \(2 matches found\)/);
    refuses(() => pickNetwork([FRONT], ''), 'NOT_FOUND', /network +not found/);
  });
});

describe('inspecting a network', () => {
  const web = service('web', { virtualIps: [{ networkId: 'abc1' as NetworkId, ipv4: '10.128.0.2' }] });
  const on = (slot: number, nodeId: string, change: Partial<Task> = {}): Task =>
    task(
      web,
      slot,
      { containerId: `c${slot}` },
      {
        id: `t${slot}` as TaskId,
        nodeId: nodeId as NodeId,
        addresses: [{ networkId: 'abc1' as NetworkId, ipv4: `10.128.0.${slot + 2}` }],
        ...change,
      },
    );
  const failed = task(web, 3, { state: 'failed', containerId: 'c3' }, { addresses: on(3, 'a').addresses });
  const users = { services: [web], tasks: [on(2, 'b'), on(1, 'a'), failed] };

  it('shows Docker\u2019s fields, with the containers of all nodes that serve', () => {
    const shown = inspectedNetwork(BACK, NOBODY);
    assert.deepEqual(shown.IPAM.Config, [{ Subnet: '10.128.0.0/24', IPRange: '10.9.0.128/25', Gateway: '10.128.0.1' }]);
    assert.equal(shown.Internal, true);
    const { Containers } = inspectedNetwork(FRONT, users);
    assert.deepEqual(
      [...Containers],
      [
        [
          'c1',
          {
            Name: 'app-web-1',
            EndpointID: 't1',
            MacAddress: '02:42:0a:80:00:03',
            IPv4Address: '10.128.0.3/24',
            IPv6Address: '',
          },
        ],
        [
          'c2',
          {
            Name: 'app-web-2',
            EndpointID: 't2',
            MacAddress: '02:42:0a:80:00:04',
            IPv4Address: '10.128.0.4/24',
            IPv6Address: '',
          },
        ],
      ],
    );
  });

  it('shows nodes and services when asked for more', () => {
    const nodes = [
      node('a', {}, { description: { hostname: 'm1', overlay: { address: '192.0.2.1', port: 4789 } } }),
      node('b', {}, { description: { hostname: 'm2' }, status: { address: '192.0.2.2:2377' } }),
      node('c', {}, { description: { hostname: 'm3' } }),
    ];
    const shown = inspectedNetwork({ ...FRONT, vni: 4097 }, users, nodes);
    assert.ok('Peers' in shown);
    assert.equal(shown.VNI, 4097);
    assert.equal('MTU' in shown, false, 'it follows the path');
    const option = { 'com.docker.network.driver.mtu': '1400' };
    const fixed = inspectedNetwork({ ...FRONT, vni: 4097, spec: { ...FRONT.spec, options: option } }, users, nodes);
    assert.equal('MTU' in fixed && fixed.MTU, 1400);
    assert.equal(shown.Encrypted, false);
    assert.deepEqual(
      shown.Peers?.map(({ Name, IP }) => `${Name} ${IP}`),
      ['m1 192.0.2.1', 'm2 192.0.2.2:2377'],
    );
    const of = shown.Services?.get(web.spec.name);
    assert.equal(of?.VIP, '10.128.0.2');
    assert.deepEqual(
      of?.Tasks.map(({ Name, EndpointIP, Info }) => `${Name} ${EndpointIP} ${Info['Host IP']} ${Info.Node}`),
      ['app_web.1 10.128.0.3 192.0.2.1 m1', 'app_web.2 10.128.0.4 192.0.2.2:2377 m2'],
    );
  });
});

function on(name: string) {
  return { network: name, aliases: [], ipv4Address: '' };
}
