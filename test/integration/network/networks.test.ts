import { equal, match, ok, rejects } from 'node:assert/strict';
import { vethName } from '../../../node-engine/network/names.ts';
import type { NetworkId, SandboxInterface } from '../../../node-engine/types.ts';
import { BACK, FRONT, INNER, containerId, on } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { answerOf, openLab, run, show } from './lab.ts';

describe('networks of a node', () => {
  let lab: Lab;
  let [a, b, c, d] = ['', '', '', ''];

  before(async () => {
    lab = await openLab();
    // A new namespace has what the machine's own has.
    show(lab.node, 'sysctl', '-qw', 'net.ipv4.ip_forward=0');
    for (const card of ['100', '200'])
      show(lab.node, 'ip', 'link', 'add', 'link', 'wire', 'name', `card${card}`, 'type', 'macvlan', 'mode', 'bridge');
    for (const bridge of [FRONT, BACK, INNER]) await lab.call('ensureBridge', bridge);
    const sandbox = (digit: string, ...interfaces: readonly SandboxInterface[]): Promise<string> =>
      lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces });
    a = await sandbox('a', on(FRONT, 2));
    b = await sandbox('b', on(FRONT, 3));
    c = await sandbox('c', on(BACK, 4));
    d = await sandbox('d', on(INNER, 5), on(FRONT, 5));
    for (const [netns, name] of [
      [a, 'a'],
      [b, 'b'],
      [c, 'c'],
      [d, 'd'],
    ] as const) {
      await lab.serve(netns, 'tcp', 80, name);
      await lab.serve(netns, 'udp', 53, name);
    }
    await lab.serve(lab.client, 'tcp', 80, 'client');
  });
  after(() => lab.close());

  it('do not make a router of a node that was none', () => {
    equal(show(lab.node, 'cat', '/proc/sys/net/ipv4/ip_forward').trim(), '1');
    match(show(lab.node, 'nft', 'list', 'set', 'ip', 'tsswarm_test', 'hardware'), /"card100",\s+"card200"/);
  });
  it('are refused where an interface of the node has addresses of the subnet', async () => {
    const clash = {
      ...FRONT,
      id: 'clashing00000000000000000' as NetworkId,
      subnet: '192.168.0.0/16',
      gateway: '192.168.0.1',
    };
    await rejects(lab.call('ensureBridge', clash), {
      code: 'NETWORK_FAILED',
      message: /subnet 192\.168\.0\.0\/16 overlaps with 192\.168\.77\.1\/24 on "wire"/,
    });
    equal((await lab.call('listBridges')).length, 3);
  });

  describe('sandboxes', () => {
    it('reach each other on a network, by TCP and UDP', async () => {
      equal(await answerOf(a, 'tcp', '10.128.1.3', 80), 'b');
      equal(await answerOf(b, 'tcp', '10.128.1.2', 80), 'a');
      equal(await answerOf(a, 'udp', '10.128.1.3', 53), 'b 10.128.1.2');
    });
    it('have the hardware address that follows from the IP address', () => {
      match(show(a, 'ip', 'link', 'show', 'eth0'), /link\/ether 02:42:0a:80:01:02/);
    });
    it('may bind ports below 1024 and ping without privileges', () => {
      equal(show(a, 'cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start').trim(), '0');
      equal(show(a, 'cat', '/proc/sys/net/ipv4/ping_group_range').trim(), '0\t2147483647');
    });
    it('do not reach containers of other networks', async () => {
      equal(await answerOf(a, 'tcp', '10.128.2.4', 80), undefined);
      equal(await answerOf(c, 'tcp', '10.128.1.2', 80), undefined);
    });
    it('reach what is outside, seen from the address of the node', async () => {
      equal(await answerOf(a, 'tcp', '192.168.77.2', 80), 'client');
      await lab.serve(lab.client, 'udp', 5353, 'client');
      equal(await answerOf(a, 'udp', '192.168.77.2', 5353), 'client 192.168.77.1');
    });
    it('are not reached from outside but by published ports', async () => {
      show(lab.client, 'ip', 'route', 'add', '10.128.0.0/16', 'via', '192.168.77.1');
      equal(await answerOf(lab.client, 'tcp', '10.128.1.2', 80), undefined);
    });
    it('do not reach the loopback of the node', async () => {
      // A container with NET_ADMIN can send to 127.0.0.1 over the wire. Counted before our rules and behind them.
      show(
        lab.node,
        'nft',
        `add table ip probe;
        add chain ip probe sent { type filter hook prerouting priority -400; };
        add chain ip probe arrived { type filter hook input priority 0; };
        add rule ip probe sent iifname "ts-*" ip daddr 127.0.0.1 counter;
        add rule ip probe arrived iifname "ts-*" ip daddr 127.0.0.1 counter`,
      );
      show(a, 'ip', 'addr', 'del', '127.0.0.1/8', 'dev', 'lo');
      show(a, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1');
      show(a, 'ip', 'route', 'add', '127.0.0.1', 'via', '10.128.1.1', 'src', '10.128.1.2');
      await run(a, ['bash', '-c', 'echo hello > /dev/udp/127.0.0.1/9000']);
      match(show(lab.node, 'nft', 'list', 'chain', 'ip', 'probe', 'sent'), /counter packets 1 /);
      match(show(lab.node, 'nft', 'list', 'chain', 'ip', 'probe', 'arrived'), /counter packets 0 /);
      show(lab.node, 'nft', 'delete', 'table', 'ip', 'probe');
    });
    it('of an internal network have no way out, and none in', async () => {
      const only = await lab.call('createSandbox', containerId('e'), { mode: 'networks', interfaces: [on(INNER, 6)] });
      equal(await answerOf(only, 'tcp', '10.128.3.5', 80), 'd');
      show(only, 'ip', 'route', 'add', 'default', 'via', '10.128.3.1');
      show(lab.client, 'nft', 'add table ip probe; add chain ip probe in { type filter hook input priority 0; }');
      show(lab.client, 'nft', 'add rule ip probe in ip saddr 10.128.0.0/16 counter');
      await run(only, ['bash', '-c', 'echo hello > /dev/udp/192.168.77.2/9000']);
      match(show(lab.client, 'nft', 'list', 'table', 'ip', 'probe'), /counter packets 0 /);
      equal(await answerOf(only, 'tcp', '10.128.1.2', 80), undefined);
      await lab.call('removeSandbox', containerId('e'));
    });
    it('take their default route from the first interface that has one', () => {
      match(show(d, 'ip', 'route'), /^default via 10\.128\.1\.1 dev eth1/m);
    });
    it('without networks have only loopback; those of the host are no namespace', async () => {
      const none = await lab.call('createSandbox', containerId('f'), { mode: 'none', interfaces: [] });
      match(show(none, 'ip', '-br', 'link'), /^lo .*UP/);
      equal(show(none, 'ip', '-br', 'link').match(/^eth/m), null);
      equal(await lab.call('createSandbox', containerId('9'), { mode: 'host', interfaces: [] }), '');
      await lab.call('removeSandbox', containerId('f'));
    });
    it('are kept as they are when asked for again, and mended when something is missing', async () => {
      const interfaces = [on(BACK, 7)];
      const first = await lab.call('createSandbox', containerId('7'), { mode: 'networks', interfaces });
      const before = show(first, 'ip', '-o', 'addr');
      equal(await lab.call('createSandbox', containerId('7'), { mode: 'networks', interfaces }), first);
      equal(show(first, 'ip', '-o', 'addr'), before);
      show(first, 'ip', 'link', 'del', 'eth0');
      await lab.call('createSandbox', containerId('7'), {
        mode: 'networks',
        interfaces: [...interfaces, on(FRONT, 7)],
      });
      equal(await answerOf(first, 'tcp', '10.128.2.4', 80), 'c');
      equal(await answerOf(first, 'tcp', '10.128.1.3', 80), 'b');
      await lab.call('createSandbox', containerId('7'), { mode: 'networks', interfaces: [on(FRONT, 7)] });
      equal(await answerOf(first, 'tcp', '10.128.2.4', 80), undefined);
      await lab.call('removeSandbox', containerId('7'));
    });
    it('can be made again at once under the same id', async () => {
      const request = { mode: 'networks', interfaces: [on(BACK, 8)] } as const;
      for (let round = 0; round < 5; round++) {
        const path = await lab.call('createSandbox', containerId('8'), request);
        equal(await answerOf(path, 'tcp', '10.128.2.4', 80), 'c');
        await lab.call('removeSandbox', containerId('8'));
      }
    });
    it('on a network that is not there are refused and leave nothing', async () => {
      const elsewhere = { ...on(BACK, 9), networkId: 'nosuchnetwork000000000000' as NetworkId };
      const request = { mode: 'networks', interfaces: [elsewhere] } as const;
      await rejects(lab.call('createSandbox', containerId('6'), request), { code: 'NETWORK_FAILED' });
      ok(!(await lab.call('listSandboxes')).includes(containerId('6')));
    });
    it('leave no interface, although something keeps their namespace', async () => {
      const request = { mode: 'networks', interfaces: [on(BACK, 10)] } as const;
      const path = await lab.call('createSandbox', containerId('5'), request);
      await lab.serve(path, 'tcp', 80, 'socket');
      await lab.call('removeSandbox', containerId('5'));
      const link = vethName(containerId('5'), 0);
      ok(show(lab.node, 'ip', '-br', 'link').includes(link));
      await lab.call('close');
      const left = show(lab.node, 'ip', '-br', 'link');
      ok(!left.includes(link) && left.includes(vethName(containerId('a'), 0)));
    });
  });
});
