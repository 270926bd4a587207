import { deepEqual, equal, match } from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkId, PortForward } from '../../../node-engine/types.ts';
import { eventually } from '../../e2e/machine.ts';
import { FRONT, containerId, on, tcp } from './fixtures.ts';
import type { Talk } from './ipv6-talker.ts';
import { talk } from './ipv6-talker.ts';
import type { Lab } from './lab.ts';
import { openLab, pidsIn, show } from './lab.ts';

const NODE = '2001:db8:77::1';
const OTHER = '2001:db8:77::11';
const CLIENT = '2001:db8:77::2';
const [EXCHANGE, TEAR, NOBODY, ECHO, PARROT] = [7000, 7001, 7002, 7003, 7004];
const SIX = {
  ...FRONT,
  id: 'sixnetworkid0000000000000' as NetworkId,
  subnet: '10.128.6.0/24',
  gateway: '10.128.6.1',
  ipv6: { subnet: 'fd00:77:6::/64', gateway: 'fd00:77:6::1' },
};

describe('published ports of containers without IPv6, over IPv6', () => {
  let lab: Lab;
  let talks: Talk[] = [];
  const ports: readonly PortForward[] = [
    tcp(8080, ['10.128.1.2', EXCHANGE]),
    tcp(8081, ['10.128.1.2', TEAR]),
    tcp(8082, ['10.128.1.2', NOBODY]),
    { ...tcp(8083, ['10.128.1.2', ECHO]), protocol: 'udp' },
  ];
  const parrot = tcp(8084, ['10.128.1.2', PARROT]);
  const start = (...args: Parameters<typeof talk>): Talk => {
    const one = talk(...args);
    talks.push(one);
    return one;
  };
  const say = (...args: Parameters<typeof talk>): Promise<string> => start(...args).said;
  const relays = (): readonly string[] =>
    show(lab.node, 'ss', '-Hlntup6')
      .split('\n')
      .filter((line) => line.includes('tsrelay'));
  const pidOf = (): number => Number(/pid=(\d+)/.exec(relays()[0] ?? '')?.[1]);

  before(async () => {
    lab = await openLab();
    for (const [netns, address] of [
      [lab.node, NODE],
      [lab.node, OTHER],
      [lab.client, CLIENT],
    ] as const)
      show(netns, 'ip', 'address', 'add', `${address}/64`, 'dev', 'wire', 'nodad');
    await lab.call('ensureBridge', FRONT);
    const container = await lab.call('createSandbox', containerId('a'), {
      mode: 'networks',
      interfaces: [on(FRONT, 2)],
    });
    await Promise.all([
      say(container, 'serve', String(EXCHANGE)),
      say(container, 'tear', String(TEAR)),
      say(container, 'echo', String(ECHO)),
      say(container, 'parrot', String(PARROT)),
    ]);
    await lab.call('setPorts', []);
    equal(existsSync(join(lab.directory, 'relay')), false);
    deepEqual(await lab.call('setPorts', ports), []);
  });
  after(async () => {
    for (const { stop } of talks) stop();
    talks = [];
    await lab.close();
  });

  for (const [title, netns, address] of [
    ['from another machine', () => lab.client, NODE],
    ['from the node by its own address', () => lab.node, NODE],
    ['from localhost', () => lab.node, '::1'],
  ] as const)
    it(`answer ${title}: all bytes both ways, of a caller that ends its half first`, async () => {
      const sizes = ['20000000', '0', '70000'];
      equal(await say(netns(), 'exchange', address, '8080', ...sizes), sizes.map((size) => `all ${size}`).join(', '));
    });

  it('are reset where the server does, and where nobody listens', async () => {
    deepEqual(await Promise.all(['8081', '8082'].map((port) => say(lab.client, 'ending', NODE, port))), [
      'ECONNRESET',
      'ECONNRESET',
    ]);
  });

  it('answer datagrams of all sizes, by the address that was called', async () => {
    for (const address of [NODE, OTHER])
      equal(
        await say(lab.client, 'ask', address, '8083', '5', '0', '60000', '1'),
        ['5', '0', '60000', '1'].map((size) => `${size} 10.128.1.1 by ${address}`).join(', '),
      );
    equal(await say(lab.node, 'ask', '::1', '8083', '7'), '7 10.128.1.1 by ::1');
  });

  it('are listened to with no right but to low ports, in an empty file system', () => {
    const pid = pidOf();
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    match(status, /^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
    match(status, /^CapEff:\s+0000000000000400$/m);
    match(status, /^NoNewPrivs:\s+1$/m);
    deepEqual(readdirSync(`/proc/${pid}/root`), ['control']);
  });

  it('go on, with their connections, when the daemon is killed; those that are not published any more do not', async () => {
    deepEqual(await lab.call('setPorts', [...ports, parrot]), []);
    const pid = pidOf();
    const kept = start(lab.client, 'keep', NODE, '8084');
    equal(await kept.said, '10.128.1.1');
    await lab.restart();
    equal(await say(lab.client, 'exchange', NODE, '8080', '1000'), 'all 1000');
    deepEqual(await lab.call('setPorts', [parrot]), []);
    deepEqual([pidOf(), relays().length], [pid, 1]);
    equal(await say(lab.client, 'ending', NODE, '8080'), 'ECONNREFUSED');
    equal(await kept.finish(), 'kept');
  });

  it('are listened to again when the process is killed', async () => {
    const pid = pidOf();
    process.kill(pid, 'SIGKILL');
    await eventually(() => (pidOf() > 0 && pidOf() !== pid ? true : undefined), 'another process');
    equal(await say(lab.client, 'ending', NODE, '8080'), 'ECONNREFUSED');
    equal(await say(lab.client, 'whom', NODE, '8084', CLIENT), '10.128.1.1');
    match((await lab.call('log')).join(''), /the relay of published ports has ended: it is started again/);
  });

  it('end with the last port, and nothing is left', async () => {
    deepEqual(await lab.call('setPorts', [parrot]), []);
    const kept = start(lab.client, 'keep', NODE, '8084');
    await kept.said;
    deepEqual(await lab.call('setPorts', []), []);
    deepEqual(relays(), []);
    // Who is connected goes on, as with ports of the kernel.
    equal(await kept.finish(), 'kept');
    const isGone = (): true | undefined => (existsSync(join(lab.directory, 'relay')) ? undefined : true);
    await eventually(isGone, 'the end of the process');
  });

  it('are the kernel’s while the containers have IPv6, without a call that fails', async () => {
    await lab.call('ensureBridge', SIX);
    const ipv6 = { address: 'fd00:77:6::2', prefix: 64, gateway: SIX.ipv6.gateway };
    const container = await lab.call('createSandbox', containerId('b'), {
      mode: 'networks',
      interfaces: [{ ...on(SIX, 2), ipv6 }],
    });
    await say(container, 'parrot', String(PARROT));
    const without = tcp(8084, ['10.128.6.2', PARROT]);
    const having = { ...without, backends: without.backends.map((one) => ({ ...one, ipv6: 'fd00:77:6::2' })) };
    deepEqual(await lab.call('setPorts', [without]), []);
    const first = start(lab.client, 'keep', NODE, '8084');
    equal(await first.said, '10.128.6.1');
    const caller = start(lab.client, 'call', NODE, '8084');
    await caller.said;
    deepEqual(await lab.call('setPorts', [having]), []);
    deepEqual(relays(), []);
    const second = start(lab.client, 'keep', NODE, '8084');
    equal(await second.said, CLIENT);
    // Nobody else can take it.
    match(
      show(
        lab.node,
        'bash',
        '-c',
        `${process.execPath} -e "require('net').createServer().listen({port:8084,host:'::',ipv6Only:true})" 2>&1`,
      ),
      /EADDRINUSE/,
    );
    deepEqual(await lab.call('setPorts', [without]), []);
    equal(await say(lab.client, 'whom', NODE, '8084', CLIENT), '10.128.6.1');
    equal(await caller.finish(), '0 failed');
    deepEqual([await first.finish(), await second.finish()], ['kept', 'kept']);
  });

  it('on an address of IPv6 are no others than those with its number on IPv4', async () => {
    const six = { ...tcp(8085, ['10.128.6.2', PARROT]), hostIp: '::' };
    deepEqual(await lab.call('setPorts', [six, { ...tcp(8085, ['10.128.1.2', PARROT]), hostIp: '0.0.0.0' }]), []);
    equal(await say(lab.client, 'whom', NODE, '8085', CLIENT), '10.128.6.1');
    equal(await say(lab.client, 'whom', '192.168.77.1', '8085', '192.168.77.2'), '192.168.77.2');
    deepEqual(await lab.call('setPorts', [{ ...six, hostIp: OTHER }]), []);
    equal(await say(lab.client, 'whom', OTHER, '8085', CLIENT), '10.128.6.1');
    equal(await say(lab.client, 'ending', NODE, '8085'), 'ECONNREFUSED');
  });

  it('lead callers apart where they are led by their address', async () => {
    const spread = tcp(8086, ['10.128.1.2', PARROT], ['10.128.6.2', PARROT]);
    deepEqual(await lab.call('setPorts', [{ ...spread, affinity: 'client' }]), []);
    const own = Array.from({ length: 8 }, (_, host) => `2001:db8:77::2${host}`);
    for (const address of own) show(lab.client, 'ip', 'address', 'add', `${address}/64`, 'dev', 'wire', 'nodad');
    const seen = (await say(lab.client, 'whom', NODE, '8086', ...own, ...own)).split(' ');
    deepEqual(seen.slice(0, own.length), seen.slice(own.length));
    deepEqual(new Set(seen).size, 2);
  });

  it('are refused where another process listens, or where callers are to be seen as they are', async () => {
    const other = start(lab.node, 'parrot', '8087');
    await other.said;
    const shown = { ...parrot, port: 8088, keepsSource: true };
    const refused = await lab.call('setPorts', [
      { ...parrot, hostIp: '::', port: 8087 },
      shown,
      { ...shown, hostIp: '::', port: 8089 },
    ]);
    other.stop();
    deepEqual(
      refused.map(({ forward, reason }) => [forward.port, reason.replace(/\(.+, pid \d+\)/, '(…)')]),
      [
        [
          8089,
          'cannot publish on "::" with x-source: keep: no network of the containers that a port leads to has IPv6 (enable_ipv6)',
        ],
        [8087, 'port is already in use by another process (…): [::]:8087/tcp'],
      ],
    );
    equal(await say(lab.client, 'ending', NODE, '8088'), 'ECONNREFUSED');
    match((await lab.call('log')).join(''), /x-source: keep do not answer over IPv6[^\n]+/);
  });

  it('wait for others to end where the process has no descriptors left, which the log says', async () => {
    deepEqual(await lab.call('setPorts', [parrot]), []);
    const pid = pidOf();
    for (const one of pidsIn(lab.node)) show(lab.node, 'prlimit', '--pid', String(one), '--nofile=80:80');
    process.kill(pid, 'SIGKILL');
    await eventually(() => (pidOf() > 0 && pidOf() !== pid ? true : undefined), 'another process');
    equal(await say(lab.client, 'crowd', NODE, '8084', '24'), '24 greeted');
    match((await lab.call('log')).join(''), /no descriptors left[^\n]+/);
  });
});
