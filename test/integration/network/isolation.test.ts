import { equal, match, ok } from 'node:assert/strict';
import type { NetworkId } from '../../../node-engine/types.ts';
import { FRONT, INNER, containerId, on, tcp } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { answerOf, openLab, run, show } from './lab.ts';
import { eventually } from '../launcher/fixture.ts';

/** The node's addresses as its containers see them. */
const GATEWAY = '10.128.1.1';
const INNER_GATEWAY = '10.128.3.1';
const NODE = '192.168.77.1';
const CLIENT = '192.168.77.2';
const SIX = {
  ...FRONT,
  id: 'sixnetworkid0000000000000' as NetworkId,
  name: 'shop_six',
  subnet: '10.128.6.0/24',
  gateway: '10.128.6.1',
  ipv6: { subnet: 'fd00:77:6::/64', gateway: 'fd00:77:6::1' },
};

describe('isolation of containers', () => {
  let lab: Lab;
  let [a, b, inner, six] = ['', '', '', ''];

  before(async () => {
    lab = await openLab();
    await lab.call('guardPorts', [
      { protocol: 'tcp', port: 2377 },
      { protocol: 'udp', port: 4789 },
    ]);
    for (const bridge of [FRONT, INNER, SIX]) await lab.call('ensureBridge', bridge);
    a = await lab.call('createSandbox', containerId('a'), { mode: 'networks', interfaces: [on(FRONT, 2)] });
    b = await lab.call('createSandbox', containerId('b'), { mode: 'networks', interfaces: [on(FRONT, 3)] });
    inner = await lab.call('createSandbox', containerId('c'), { mode: 'networks', interfaces: [on(INNER, 5)] });
    six = await lab.call('createSandbox', containerId('d'), {
      mode: 'networks',
      interfaces: [{ ...on(SIX, 2), ipv6: { address: 'fd00:77:6::2', prefix: 64, gateway: SIX.ipv6.gateway } }],
    });
    for (const netns of [lab.node, lab.client, b]) {
      await lab.serve(netns, 'tcp', 2377, 'control');
      await lab.serve(netns, 'udp', 4789, 'tunnel');
      await lab.serve(netns, 'tcp', 8000, 'service');
      await lab.serve(netns, 'udp', 8000, 'service');
    }
    await lab.serve(b, 'tcp', 80, 'b');
    await lab.serve(inner, 'tcp', 80, 'inner');
    await lab.call('setPorts', [tcp(8080, ['10.128.1.3', 80]), tcp(8081, ['10.128.3.5', 80])]);
  });
  after(() => lab.close());

  describe('from the control plane of their node', () => {
    it('holds at all its addresses, at once and not after a timeout', async () => {
      for (const address of [GATEWAY, NODE]) {
        match(show(a, 'bash', '-c', `exec 2>&1; exec 3<>/dev/tcp/${address}/2377`), /Connection refused/, address);
        equal(await answerOf(a, 'udp', address, 4789), undefined, address);
      }
    });
    it('does not concern what else the node offers, nor anybody outside', async () => {
      equal(await answerOf(a, 'tcp', GATEWAY, 8000), 'service');
      equal(await answerOf(lab.client, 'tcp', NODE, 2377), 'control');
      equal(await answerOf(lab.client, 'udp', NODE, 4789), `tunnel ${CLIENT}`);
      equal(await answerOf(a, 'tcp', NODE, 8080), 'b');
    });
    it('does not concern containers among themselves', async () => {
      equal(await answerOf(a, 'tcp', '10.128.1.3', 2377), 'control');
      equal(await answerOf(a, 'udp', '10.128.1.3', 4789), 'tunnel 10.128.1.2');
    });
    it('lets none of them speak to other nodes as if it were this one', async () => {
      equal(await answerOf(a, 'udp', CLIENT, 4789), undefined);
      equal(await answerOf(a, 'udp', CLIENT, 8000), `service ${NODE}`);
    });
    it('holds for IPv6, too', async () => {
      await lab.serveIpv6(lab.node, 2378, 'six');
      equal(await answerOf(six, 'tcp', SIX.ipv6.gateway, 2378), 'six');
      await lab.call('guardPorts', [
        { protocol: 'tcp', port: 2377 },
        { protocol: 'tcp', port: 2378 },
        { protocol: 'udp', port: 4789 },
      ]);
      equal(await answerOf(six, 'tcp', SIX.ipv6.gateway, 2378), undefined);
    });
    it('holds again when somebody has flushed the rules', async () => {
      show(lab.node, 'nft', 'flush', 'ruleset');
      await eventually(async () => (await answerOf(a, 'tcp', NODE, 8080)) === 'b');
      equal(await answerOf(a, 'tcp', GATEWAY, 2377), undefined);
    });
    it('holds after a restart of the daemon', async () => {
      await lab.restart();
      equal(await answerOf(a, 'tcp', GATEWAY, 2377), undefined);
      await lab.call('guardPorts', [
        { protocol: 'tcp', port: 2377 },
        { protocol: 'udp', port: 4789 },
      ]);
      equal(await answerOf(a, 'tcp', GATEWAY, 2377), undefined);
      await lab.call('setPorts', [tcp(8080, ['10.128.1.3', 80]), tcp(8081, ['10.128.3.5', 80])]);
    });
  });

  describe('on an internal network', () => {
    it('leaves no way out, not even to the node, whatever routes they add', async () => {
      show(inner, 'ip', 'route', 'add', 'default', 'via', INNER_GATEWAY);
      const places = [
        [INNER_GATEWAY, 8000],
        [INNER_GATEWAY, 8080],
        [NODE, 8000],
        [NODE, 8080],
        [CLIENT, 8000],
        ['10.128.1.3', 80],
      ] as const;
      const answers = await Promise.all(places.map(([address, port]) => answerOf(inner, 'tcp', address, port)));
      ok(
        answers.every((answer) => answer === undefined),
        answers.join(),
      );
      equal(await answerOf(inner, 'udp', INNER_GATEWAY, 8000), undefined);
      equal(await run(inner, ['ping', '-c1', '-W1', INNER_GATEWAY]), undefined);
    });
    it('leaves no way in either, but from the node itself', async () => {
      equal(await answerOf(lab.client, 'tcp', NODE, 8081), undefined);
      equal(await answerOf(a, 'tcp', '10.128.3.5', 80), undefined);
      equal(await answerOf(lab.node, 'tcp', '10.128.3.5', 80), 'inner');
    });
  });

  describe('beside other firewalls', () => {
    /** What holds beside any of them. */
    const holds = async (): Promise<void> => {
      equal(await answerOf(a, 'tcp', GATEWAY, 2377), undefined);
      equal(await answerOf(inner, 'tcp', CLIENT, 8000), undefined);
      equal(await answerOf(inner, 'tcp', INNER_GATEWAY, 8000), undefined);
      equal(await answerOf(a, 'tcp', '10.128.3.5', 80), undefined);
    };
    const works = async (): Promise<void> => {
      equal(await answerOf(a, 'tcp', CLIENT, 8000), 'service');
      equal(await answerOf(lab.client, 'tcp', NODE, 8080), 'b');
      equal(await answerOf(a, 'tcp', NODE, 8080), 'b');
    };

    it('holds beside one like ufw, and works with what is advised', async () => {
      for (const rule of [
        '-P INPUT DROP',
        '-P FORWARD DROP',
        '-A INPUT -i lo -j ACCEPT',
        '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      ])
        show(lab.node, 'iptables', ...rule.split(' '));
      await holds();
      equal(await answerOf(a, 'tcp', CLIENT, 8000), undefined);
      await lab.call('ensureBridge', FRONT);
      // Nobody's start waits for a warning.
      await eventually(async () =>
        (await lab.call('log')).some((line) => line.includes('a firewall of this node drops')),
      );
      for (const rule of ['-I FORWARD -i ts-+ -j ACCEPT', '-I FORWARD -o ts-+ -j ACCEPT'])
        show(lab.node, 'iptables', ...rule.split(' '));
      await works();
      await holds();
      show(lab.node, 'iptables', '-F');
      for (const chain of ['INPUT', 'FORWARD']) show(lab.node, 'iptables', '-P', chain, 'ACCEPT');
    });

    it('holds beside one like Docker\u2019s', async () => {
      for (const rule of [
        '-N DOCKER',
        '-N DOCKER-USER',
        '-A FORWARD -j DOCKER-USER',
        '-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        '-A FORWARD -o docker0 -j DOCKER',
        '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
        '-t nat -N DOCKER',
        '-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
        '-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER',
        '-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
        '-t nat -A DOCKER ! -i docker0 -p tcp --dport 9000 -j DNAT --to-destination 172.17.0.2:80',
      ])
        show(lab.node, 'iptables', ...rule.split(' '));
      await works();
      await holds();
    });

    it('holds beside one like firewalld', async () => {
      show(
        lab.node,
        'nft',
        `add table inet firewalld
        add chain inet firewalld filter_INPUT { type filter hook input priority filter + 10; policy accept; }
        add rule inet firewalld filter_INPUT ct state established,related accept
        add rule inet firewalld filter_INPUT iifname lo accept
        add rule inet firewalld filter_INPUT tcp dport 22 accept
        add rule inet firewalld filter_INPUT reject with icmpx admin-prohibited
        add chain inet firewalld filter_FORWARD { type filter hook forward priority filter + 10; policy accept; }
        add rule inet firewalld filter_FORWARD ct state established,related accept
        add rule inet firewalld filter_FORWARD ct status dnat accept
        add rule inet firewalld filter_FORWARD iifname "ts-*" accept
        add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited`,
      );
      await works();
      await holds();
    });
  });
});
