import { deepEqual, equal, match, rejects } from 'node:assert/strict';
import type { BridgeRequest, NetworkId, SandboxInterface } from '../../../node-engine/types.ts';
import { FRONT, INNER, containerId, on } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { openLab, run, show } from './lab.ts';

const DUAL: BridgeRequest = {
  ...FRONT,
  id: 'dualnetworkid000000000000' as NetworkId,
  name: 'shop_dual',
  subnet: '10.128.4.0/24',
  gateway: '10.128.4.1',
  ipv6: { subnet: 'fd00:128:4::/64', gateway: 'fd00:128:4::1' },
};
const CLOSED: BridgeRequest = {
  ...INNER,
  id: 'closednetworkid0000000000' as NetworkId,
  name: 'shop_closed',
  subnet: '10.128.5.0/24',
  gateway: '10.128.5.1',
  ipv6: { subnet: 'fd00:128:5::/64', gateway: 'fd00:128:5::1' },
};

function dual(network: BridgeRequest, host: number, more: Partial<SandboxInterface> = {}): SandboxInterface {
  const { gateway = '' } = network.ipv6 ?? {};
  return {
    ...on(network, host),
    ipv6: { address: gateway.replace(/1$/, String(host)), prefix: 64, gateway: network.internal ? '' : gateway },
    ...more,
  };
}

describe('IPv6 of a node', () => {
  let lab: Lab;
  let [a, b, plain, closed] = ['', '', '', ''];

  before(async function () {
    this.timeout(20_000);
    lab = await openLab();
    for (const key of ['all.forwarding=0', 'wire.accept_ra=1']) show(lab.node, 'sysctl', '-qw', `net.ipv6.conf.${key}`);
    show(lab.node, 'ip', 'link', 'add', 'link', 'wire', 'name', 'card100', 'type', 'macvlan', 'mode', 'bridge');
    for (const bridge of [DUAL, CLOSED, FRONT]) await lab.call('ensureBridge', bridge);
    const sandbox = (digit: string, ...interfaces: readonly SandboxInterface[]): Promise<string> =>
      lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces });
    a = await sandbox('a', dual(DUAL, 2));
    b = await sandbox('b', on(FRONT, 3), dual(DUAL, 3, { name: 'lan0', macAddress: '02:00:00:00:00:0b' }));
    plain = await sandbox('c', on(FRONT, 4));
    closed = await sandbox('d', dual(CLOSED, 5));
    for (const [netns, name] of [
      [a, 'a'],
      [b, 'b'],
      [plain, 'plain'],
    ] as const)
      await serve(lab, netns, name);
    for (const [netns, address] of [
      [lab.node, 'fd77::1/64'],
      [lab.client, 'fd77::2/64'],
    ] as const)
      show(netns, 'ip', 'addr', 'add', address, 'dev', 'wire', 'nodad');
    await serve(lab, lab.client, 'client');
  });
  after(() => lab.close());

  it('gives containers addresses that count at once, and a route', () => {
    match(show(a, 'ip', '-6', 'addr', 'show', 'dev', 'eth0'), /fd00:128:4::2\/64 scope global/);
    equal(show(a, 'ip', '-6', 'addr').includes('tentative'), false);
    match(show(a, 'ip', '-6', 'route'), /^default via fd00:128:4::1 dev eth0/m);
    match(show(b, 'ip', '-6', 'route'), /^default via fd00:128:4::1 dev lan0/m);
    match(show(b, 'ip', 'route'), /^default via 10\.128\.1\.1 dev eth0/m);
  });
  it('lets containers reach each other, by the name and hardware address that they were given', async () => {
    equal(await answerOf6(a, 'fd00:128:4::3'), 'b');
    equal(await answerOf6(b, 'fd00:128:4::2'), 'a');
    match(show(b, 'ip', 'link', 'show', 'lan0'), /link\/ether 02:00:00:00:00:0b/);
  });
  it('is not there on networks without it', async () => {
    equal(show(plain, 'ip', '-6', 'addr', 'show', 'dev', 'eth0'), '');
    equal(show(b, 'ip', '-6', 'addr', 'show', 'dev', 'eth0'), '');
    equal(await answerOf6(plain, 'fd00:128:4::2'), undefined);
    equal(show(lab.node, 'cat', '/proc/sys/net/ipv6/conf/ts-frontnetwo/disable_ipv6').trim(), '1');
  });
  it('leads out under the address of the node, and not in', async () => {
    equal(await answerOf6(a, 'fd77::2'), 'client fd77::1');
    show(lab.client, 'ip', '-6', 'route', 'add', 'fd00:128::/32', 'via', 'fd77::1');
    equal(await answerOf6(lab.client, 'fd00:128:4::2'), undefined);
  });
  it('of an internal network has no way out', async () => {
    show(closed, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd00:128:5::1');
    equal(await answerOf6(closed, 'fd77::2'), undefined);
    equal(await answerOf6(closed, 'fd00:128:4::2'), undefined);
  });
  it('makes no router of a node that was none, and leaves it the routes that it is told', () => {
    const setting = (key: string): string => show(lab.node, 'cat', `/proc/sys/net/ipv6/conf/${key}`).trim();
    deepEqual([setting('all/forwarding'), setting('wire/accept_ra')], ['1', '2']);
    match(show(lab.node, 'nft', 'list', 'set', 'ip6', 'tsswarm_test', 'hardware'), /"card100"/);
  });
  it('is mended when it is asked for again, and goes when it is not', async () => {
    show(a, 'ip', 'addr', 'del', 'fd00:128:4::2/64', 'dev', 'eth0');
    await lab.call('createSandbox', containerId('a'), { mode: 'networks', interfaces: [dual(DUAL, 2)] });
    equal(await answerOf6(b, 'fd00:128:4::2'), 'a');
    await lab.call('createSandbox', containerId('a'), { mode: 'networks', interfaces: [on(DUAL, 2)] });
    equal(await answerOf6(b, 'fd00:128:4::2'), undefined);
    await lab.call('createSandbox', containerId('a'), { mode: 'networks', interfaces: [dual(DUAL, 2)] });
    equal(await answerOf6(b, 'fd00:128:4::2'), 'a');
  });
  it('stays when the daemon starts again, also when somebody has flushed the rules', async () => {
    await lab.restart();
    show(lab.node, 'nft', 'flush', 'ruleset');
    for (const bridge of [DUAL, CLOSED, FRONT]) await lab.call('ensureBridge', bridge);
    equal(await answerOf6(a, 'fd77::2'), 'client fd77::1');
    equal(await answerOf6(lab.client, 'fd00:128:4::2'), undefined);
  });
  it('is refused where an interface of the node has addresses of the subnet', async () => {
    const clash = {
      ...DUAL,
      id: 'clashing00000000000000000' as NetworkId,
      subnet: '10.128.99.0/24',
      gateway: '10.128.99.1',
      ipv6: { subnet: 'fd77::/48', gateway: 'fd77::99' },
    };
    await rejects(lab.call('ensureBridge', clash), { message: /fd77::\/48 overlaps with fd77::1\/64 on "wire"/ });
  });
  it('takes its rules along when the last network with it goes', async () => {
    for (const digit of ['a', 'b', 'd']) await lab.call('removeSandbox', containerId(digit));
    for (const { id } of [DUAL, CLOSED]) await lab.call('removeBridge', id);
    equal(show(lab.node, 'nft', 'list', 'tables').includes('ip6'), false);
  });
});

async function serve(lab: Lab, netns: string, text: string): Promise<void> {
  await lab.serveIpv6(netns, 80, text);
}

/** What a server at an IPv6 address answers on port 80; undefined if nothing came in time. */
function answerOf6(netns: string, address: string): Promise<string | undefined> {
  return run(netns, ['timeout', '3', process.execPath, '-e', CLIENT, address]);
}

const CLIENT = `require('net').connect(80, process.argv[1]).on('error', () => process.exit(1))
  .on('data', (data) => { console.log(String(data)); process.exit(); });
  setTimeout(() => process.exit(1), 1500)`;
