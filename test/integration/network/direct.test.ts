import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import type { BridgeRequest, NetworkId, SandboxInterface } from '../../../node-engine/types.ts';
import { containerId, on } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { answerOf, openLab, run, show } from './lab.ts';

/** On the wire that the node and the client share, whose addresses are 192.168.77.0/24. */
const LAN: BridgeRequest & { readonly direct: object } = {
  id: 'lannetworkid0000000000000' as NetworkId,
  name: 'shop_lan',
  subnet: '192.168.77.0/24',
  gateway: '192.168.77.1',
  internal: false,
  mtu: 0,
  direct: { driver: 'macvlan', parent: 'wire', mode: 'bridge' },
};
const VLAN: BridgeRequest = {
  ...LAN,
  id: 'vlannetworkid000000000000' as NetworkId,
  name: 'shop_vlan',
  subnet: '192.168.78.0/24',
  gateway: '192.168.78.1',
  direct: { driver: 'macvlan', parent: 'wire.10', mode: 'bridge' },
};
type Change = Partial<NonNullable<SandboxInterface['direct']>>;

/** An interface on such a network: its gateway is the client. */
function at(network: BridgeRequest, host: number, change: Change = {}): SandboxInterface {
  const { direct, gateway } = network;
  ok(direct);
  return {
    ...on(network, host),
    gateway: gateway.replace(/1$/, '2'),
    direct: { ...direct, mtu: 0, ...change } as never,
  };
}

describe('networks on a card of the node', () => {
  let lab: Lab;
  let [a, b] = ['', ''];
  const sandbox = (digit: string, ...interfaces: readonly SandboxInterface[]): Promise<string> =>
    lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces });
  /** Names of the links of the node. */
  const links = (): readonly string[] =>
    (JSON.parse(show(lab.node, 'ip', '-json', 'link')) as { ifname: string }[]).map(({ ifname }) => ifname);

  before(async () => {
    lab = await openLab();
    await lab.call('ensureBridge', LAN);
    a = await sandbox('a', at(LAN, 12));
    b = await sandbox('b', { ...at(LAN, 13), macAddress: '02:00:00:00:77:0d', name: 'lan0' });
    await lab.serve(a, 'tcp', 80, 'a');
    await lab.serve(b, 'udp', 53, 'b');
    await lab.serve(lab.client, 'tcp', 80, 'client');
  });
  after(() => lab.close());

  it('reach each other and what else is on the wire, and are reached from there', async () => {
    equal(await answerOf(b, 'tcp', '192.168.77.12', 80), 'a');
    equal(await answerOf(a, 'udp', '192.168.77.13', 53), 'b 192.168.77.12');
    equal(await answerOf(a, 'tcp', '192.168.77.2', 80), 'client');
    equal(await answerOf(lab.client, 'tcp', '192.168.77.12', 80), 'a');
  });
  it('are not reached by the node itself, and make nothing on it', async () => {
    equal(await run(lab.node, ['ping', '-c1', '-W1', '192.168.77.12']), undefined);
    deepEqual(links(), ['lo', 'wire']);
    equal(show(lab.node, 'cat', '/proc/sys/net/ipv4/ip_forward').trim(), '0');
  });
  it('have the names, addresses and routes that they were given', () => {
    match(show(a, 'ip', '-details', 'link', 'show', 'eth0'), /link\/ether 02:42:c0:a8:4d:0c .*macvlan mode bridge/s);
    match(show(b, 'ip', 'link', 'show', 'lan0'), /link\/ether 02:00:00:00:77:0d/);
    match(show(a, 'ip', 'route'), /^default via 192\.168\.77\.2 dev eth0/);
  });
  it('tell the wire of their addresses when they come', async () => {
    show(
      lab.client,
      'ip',
      'neighbour',
      'replace',
      '192.168.77.14',
      'lladdr',
      '02:de:ad:00:00:00',
      'dev',
      'wire',
      'nud',
      'stale',
    );
    const late = await sandbox('c', at(LAN, 14));
    await lab.serve(late, 'tcp', 80, 'late');
    match(show(lab.client, 'ip', 'neighbour', 'show', '192.168.77.14'), /02:42:c0:a8:4d:0e/);
    await lab.call('removeSandbox', containerId('c'));
  });
  it('keep what is there and mend what is missing', async () => {
    const before = show(a, 'ip', '-oneline', 'link', 'show', 'eth0');
    await sandbox('a', at(LAN, 12));
    equal(show(a, 'ip', '-oneline', 'link', 'show', 'eth0'), before);
    show(a, 'ip', 'link', 'delete', 'eth0');
    await sandbox('a', at(LAN, 12));
    equal(await answerOf(lab.client, 'tcp', '192.168.77.12', 80), 'a');
    match(show(a, 'ip', 'route'), /^default via 192\.168\.77\.2 dev eth0/);
  });
  it('are beside others on bridges in one container', async () => {
    const inner = {
      ...LAN,
      id: 'bothnetworkid000000000000' as NetworkId,
      subnet: '10.128.9.0/24',
      gateway: '10.128.9.1',
    };
    const { direct: _, ...bridge } = inner;
    await lab.call('ensureBridge', bridge);
    const both = await sandbox('d', { ...on(bridge, 5), gateway: '' }, at(LAN, 15));
    const names = (
      JSON.parse(show(both, 'ip', '-json', 'address')) as { ifname: string; addr_info: { local: string }[] }[]
    ).map(({ ifname, addr_info }) => `${ifname} ${addr_info[0]?.local ?? ''}`);
    deepEqual(names.filter((name) => name.startsWith('eth')).sort(), ['eth0 10.128.9.5', 'eth1 192.168.77.15']);
    equal(await answerOf(both, 'tcp', '192.168.77.2', 80), 'client');
    await lab.call('removeSandbox', containerId('d'));
    await lab.call('removeBridge', bridge.id);
  });
  it('do not see each other in the mode "private", and are alone in "passthru"', async () => {
    const one = await sandbox('e', at(LAN, 16, { mode: 'private' }));
    const two = await sandbox('f', at(LAN, 17, { mode: 'private' }));
    await lab.serve(one, 'tcp', 80, 'one');
    equal(await answerOf(lab.client, 'tcp', '192.168.77.16', 80), 'one');
    equal(await run(two, ['ping', '-c1', '-W1', '192.168.77.16']), undefined);
    await rejects(sandbox('9', at(LAN, 18, { mode: 'passthru' })), {
      code: 'NETWORK_FAILED',
      message: /cannot make a macvlan link on "wire" \(mode passthru\) of container "999999999999"/,
    });
    for (const digit of ['e', 'f', '9']) await lab.call('removeSandbox', containerId(digit));
  });
  it('make the VLAN that they name, and take it away with the last of the network', async () => {
    show(lab.client, 'ip', 'link', 'add', 'link', 'wire', 'name', 'wire.10', 'type', 'vlan', 'id', '10');
    if (!show(lab.client, 'ip', 'link').includes('wire.10')) {
      await rejects(lab.call('ensureBridge', VLAN), { code: 'NOT_SUPPORTED', message: /has no VLANs \(802\.1Q\)/ });
      return;
    }
    show(lab.client, 'ip', 'address', 'add', '192.168.78.2/24', 'dev', 'wire.10');
    show(lab.client, 'ip', 'link', 'set', 'wire.10', 'up');
    await lab.call('ensureBridge', VLAN);
    await lab.call('ensureBridge', VLAN);
    const tagged = await sandbox('c', at(VLAN, 12));
    await lab.serve(tagged, 'tcp', 80, 'tagged');
    equal(await answerOf(lab.client, 'tcp', '192.168.78.12', 80), 'tagged');
    match(show(lab.node, 'ip', '-details', 'link', 'show', 'wire.10'), /vlan protocol 802\.1Q id 10/);
    await rejects(lab.call('ensureBridge', { ...VLAN, id: 'othernetworkid00000000000' as NetworkId, name: 'other' }), {
      message: /cannot set up network "other": the VLAN "wire\.10" belongs to network "vlannetworkid000000000000"/,
    });
    await lab.restart();
    deepEqual(await lab.call('listBridges'), [VLAN.id], 'found again by the next daemon');
    await lab.call('removeSandbox', containerId('c'));
    await lab.call('removeBridge', VLAN.id);
    deepEqual(links(), ['lo', 'wire']);
  });
  it('are refused with the reason where the node lacks what they need', async () => {
    const refused = (direct: object, reason: RegExp): Promise<void> =>
      rejects(lab.call('ensureBridge', { ...LAN, direct: { ...LAN.direct, ...direct } as never }), reason);
    await refused({ parent: 'eth7' }, /cannot set up network "shop_lan": node "[^"]+" has no interface "eth7"/);
    await refused({ parent: 'eth7.20' }, /has no interface "eth7"/);
    show(lab.node, 'ip', 'link', 'add', 'spare', 'type', 'veth', 'peer', 'name', 'eraps');
    await refused({ parent: 'spare' }, /the interface "spare" is down/);
    show(lab.node, 'ip', 'link', 'delete', 'spare');
    const drivers = await lab.call('optionalDrivers');
    ok(drivers.includes('macvlan'), drivers.join());
    if (!drivers.includes('ipvlan'))
      return refused({ driver: 'ipvlan', mode: 'l2', flag: 'bridge' }, /the kernel of node "[^"]+" has no ipvlan/);
    // One card has links of one kind only.
    for (const digit of ['a', 'b']) await lab.call('removeSandbox', containerId(digit));
    const direct = { driver: 'ipvlan', mode: 'l3', flag: 'bridge' } as const;
    const routed = await sandbox('c', { ...at(LAN, 19), direct: { ...direct, parent: 'wire', mtu: 0 } });
    match(show(routed, 'ip', 'route'), /^default dev eth0 scope link/m);
  });
});
