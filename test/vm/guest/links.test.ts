import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { existsSync } from 'node:fs';
import type { BridgeRequest, NetworkId, SandboxInterface } from '../../../node-engine/types.ts';
import { containerId, on } from '../../integration/network/fixtures.ts';
import type { Lab } from '../../integration/network/lab.ts';
import { answerOf, openLab, run, show } from '../../integration/network/lab.ts';

type Direct = NonNullable<BridgeRequest['direct']>;

/** A network on a card of the node; the client is on the same wire. */
function network(id: string, subnet: string, direct: Direct): BridgeRequest & { readonly direct: Direct } {
  return {
    id: id.padEnd(25, '0') as NetworkId,
    name: id,
    subnet: `${subnet}.0/24`,
    gateway: `${subnet}.1`,
    internal: false,
    mtu: 0,
    direct,
  };
}
const L2 = network('layertwo', '192.168.77', { driver: 'ipvlan', parent: 'wire', mode: 'l2', flag: 'bridge' });
const L3 = network('layerthree', '192.168.90', { driver: 'ipvlan', parent: 'wire', mode: 'l3', flag: 'bridge' });
const PRIVATE = network('apart', '192.168.77', { driver: 'ipvlan', parent: 'wire', mode: 'l2', flag: 'private' });
const MACVLAN_10 = network('ten', '192.168.78', { driver: 'macvlan', parent: 'wire.10', mode: 'bridge' });
const IPVLAN_20 = network('twenty', '192.168.79', {
  driver: 'ipvlan',
  parent: 'wire.20',
  mode: 'l2',
  flag: 'bridge',
});

/** An interface on such a network; its gateway is the client. */
function at(of: BridgeRequest & { readonly direct: Direct }, host: number): SandboxInterface {
  return { ...on(of, host), gateway: of.gateway.replace(/1$/, '2'), direct: { ...of.direct, mtu: 0 } };
}

describe('links that the development machine has not', () => {
  let lab: Lab;
  const sandbox = (digit: string, of: BridgeRequest & { readonly direct: Direct }, host: number): Promise<string> =>
    lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces: [at(of, host)] });
  const links = (space: string): readonly string[] =>
    (JSON.parse(show(space, 'ip', '-json', 'link')) as { ifname: string }[]).map(({ ifname }) => ifname);
  const macOf = (space: string, link: string): string =>
    /link\/ether (\S+)/.exec(show(space, 'ip', 'link', 'show', link))?.[1] ?? '';
  const clear = async (of: BridgeRequest, ...digits: readonly string[]): Promise<void> => {
    for (const digit of digits) await lab.call('removeSandbox', containerId(digit));
    await lab.call('removeBridge', of.id);
    deepEqual(links(lab.node), ['lo', 'wire']);
  };
  before(async () => {
    lab = await openLab();
    await lab.serve(lab.client, 'tcp', 80, 'client');
  });
  after(() => lab.close());

  it('are known to the node', async () => {
    deepEqual([...(await lab.call('optionalDrivers'))].sort(), ['ipvlan', 'macvlan']);
    ok(existsSync('/sys/module/ipvlan'));
  });

  it('ipvlan l2: containers answer each other and the wire with the hardware address of the card', async () => {
    await lab.call('ensureBridge', L2);
    const [a, b] = [await sandbox('a', L2, 12), await sandbox('b', L2, 13)];
    await lab.serve(a, 'tcp', 80, 'a');
    await lab.serve(b, 'udp', 53, 'b');
    equal(await answerOf(b, 'tcp', '192.168.77.12', 80), 'a');
    equal(await answerOf(a, 'udp', '192.168.77.13', 53), 'b 192.168.77.12');
    equal(await answerOf(a, 'tcp', '192.168.77.2', 80), 'client');
    equal(await answerOf(lab.client, 'tcp', '192.168.77.12', 80), 'a');
    match(show(a, 'ip', '-details', 'link', 'show', 'eth0'), /ipvlan\s+mode l2/);
    equal(macOf(a, 'eth0'), macOf(lab.node, 'wire'));
    match(show(a, 'ip', 'route'), /^default via 192\.168\.77\.2 dev eth0/);
    // A daemon that comes back finds them, and one that is changed by hand is mended.
    await lab.restart();
    show(a, 'ip', 'link', 'delete', 'eth0');
    await sandbox('a', L2, 12);
    equal(await answerOf(lab.client, 'tcp', '192.168.77.12', 80), 'a');
    await clear(L2, 'a', 'b');
  });

  it('ipvlan l2, private: containers do not see each other', async () => {
    await lab.call('ensureBridge', PRIVATE);
    const [a, b] = [await sandbox('a', PRIVATE, 12), await sandbox('b', PRIVATE, 13)];
    await lab.serve(a, 'tcp', 80, 'a');
    equal(await answerOf(lab.client, 'tcp', '192.168.77.12', 80), 'a');
    equal(await run(b, ['ping', '-c1', '-W1', '192.168.77.12']), undefined);
    await clear(PRIVATE, 'a', 'b');
  });

  it('ipvlan l3: the node routes for them, by its own table', async () => {
    await lab.call('ensureBridge', L3);
    const [a, b] = [await sandbox('a', L3, 12), await sandbox('b', L3, 13)];
    await lab.serve(a, 'tcp', 80, 'a');
    match(show(a, 'ip', 'route'), /^default dev eth0 scope link/m);
    equal(await answerOf(b, 'tcp', '192.168.90.12', 80), 'a');
    // Nobody answers for their addresses on the wire: whoever wants to reach them needs a route.
    equal(await answerOf(lab.client, 'tcp', '192.168.90.12', 80), undefined);
    show(lab.client, 'ip', 'route', 'add', '192.168.90.0/24', 'via', '192.168.77.1');
    equal(await answerOf(lab.client, 'tcp', '192.168.90.12', 80), 'a');
    equal(await answerOf(a, 'tcp', '192.168.77.2', 80), 'client');
    await clear(L3, 'a', 'b');
  });

  for (const [title, of, id] of [
    ['macvlan', MACVLAN_10, '10'],
    ['ipvlan', IPVLAN_20, '20'],
  ] as const) {
    it(`${title} on a VLAN: frames are tagged, and the VLAN goes with the network`, async () => {
      const link = `wire.${id}`;
      show(lab.client, 'ip', 'link', 'add', 'link', 'wire', 'name', link, 'type', 'vlan', 'id', id);
      show(lab.client, 'ip', 'address', 'add', of.gateway.replace(/1$/, '2/24'), 'dev', link);
      show(lab.client, 'ip', 'link', 'set', link, 'up');
      await lab.call('ensureBridge', of);
      match(show(lab.node, 'ip', '-details', 'link', 'show', link), new RegExp(`vlan protocol 802\\.1Q id ${id}`));
      const tagged = await sandbox('c', of, 12);
      const address = of.gateway.replace(/1$/, '12');
      await lab.serve(tagged, 'tcp', 80, 'tagged');
      equal(await answerOf(lab.client, 'tcp', address, 80), 'tagged');
      // The same address without the tag is nobody's.
      show(lab.client, 'ip', 'link', 'set', link, 'down');
      show(lab.client, 'ip', 'address', 'add', of.gateway.replace(/1$/, '3/24'), 'dev', 'wire');
      equal(await answerOf(lab.client, 'tcp', address, 80), undefined);
      show(lab.client, 'ip', 'address', 'delete', of.gateway.replace(/1$/, '3/24'), 'dev', 'wire');
      show(lab.client, 'ip', 'link', 'delete', link);
      await clear(of, 'c');
    });
  }
});
