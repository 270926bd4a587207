import { deepEqual, equal, match } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { NetworkId, PortForward } from '../../../node-engine/types.ts';
import { FRONT, containerId, on } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { openLab, run, show } from './lab.ts';

const SIX = {
  ...FRONT,
  id: 'sixnetworkid0000000000000' as NetworkId,
  subnet: '10.128.6.0/24',
  gateway: '10.128.6.1',
  ipv6: { subnet: 'fd00:77:6::/64', gateway: 'fd00:77:6::1' },
};
const NODE = '2001:db8:77::1';
const CLIENT = '2001:db8:77::2';

describe('published ports over IPv6', () => {
  let lab: Lab;
  let [a, b] = ['', ''];
  const six = (port: number, ...hosts: readonly number[]): PortForward => ({
    protocol: 'tcp',
    hostIp: '',
    port,
    backends: hosts.map((host) => ({ ipv4: `10.128.6.${host}`, ipv6: `fd00:77:6::${host}`, port: 80 })),
  });
  /** bash has no IPv6 in /dev/tcp but by name: curl asks. */
  const ask = (netns: string, address: string, port: number): Promise<string | undefined> =>
    run(netns, ['curl', '-s', '--http0.9', '-m', '3', `http://[${address}]:${port}/`]);

  before(async () => {
    lab = await openLab();
    for (const [netns, address] of [
      [lab.node, NODE],
      [lab.client, CLIENT],
    ] as const)
      show(netns, 'ip', 'address', 'add', `${address}/64`, 'dev', 'wire', 'nodad');
    show(lab.node, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-ip6tables=0');
    await lab.call('ensureBridge', SIX);
    const sandbox = async (digit: string, host: number): Promise<string> => {
      const ipv6 = { address: `fd00:77:6::${host}`, prefix: 64, gateway: SIX.ipv6.gateway };
      const interfaces = [{ ...on(SIX, host), ipv6 }];
      const netns = await lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces });
      await lab.serveIpv6(netns, 80, digit);
      return netns;
    };
    a = await sandbox('a', 2);
    b = await sandbox('b', 3);
    deepEqual(
      await lab.call('setPorts', [
        six(8080, 2),
        { ...six(8081, 2), hostIp: '::1' },
        { ...six(8082, 2), hostIp: NODE },
        { ...six(8083, 2), hostIp: '0.0.0.0' },
        { ...six(8083, 3), hostIp: '::' },
        { ...six(8084, 2, 3), affinity: 'client' },
      ]),
      [],
    );
  });
  after(() => lab.close());

  const cases: readonly (readonly [string, () => string, string, number, string | undefined])[] = [
    ['answer another machine, showing its address', () => lab.client, NODE, 8080, `a ${CLIENT}`],
    ['answer at localhost', () => lab.node, '::1', 8080, 'a'],
    ['answer the node by its own address', () => lab.node, NODE, 8080, 'a'],
    ['answer another container', () => b, NODE, 8080, 'a'],
    ['answer another container by the gateway', () => b, SIX.ipv6.gateway, 8080, 'a'],
    ['answer the container itself', () => a, NODE, 8080, 'a'],
    ['on ::1 answer there', () => lab.node, '::1', 8081, 'a'],
    ['on ::1 answer nobody else', () => lab.client, NODE, 8081, undefined],
    ['on one address answer there', () => lab.client, NODE, 8082, `a ${CLIENT}`],
    ['on one address answer on no other', () => lab.node, '::1', 8082, undefined],
    ['on :: are not those on 0.0.0.0', () => lab.client, NODE, 8083, `b ${CLIENT}`],
  ];
  for (const [title, netns, address, port, expected] of cases)
    it(title, async () => {
      equal(await ask(netns(), address, port), expected);
    });

  it('lead a caller to the same container where they are told to', async () => {
    const first = await ask(lab.client, NODE, 8084);
    for (let count = 0; count < 5; count++) equal(await ask(lab.client, NODE, 8084), first);
  });

  it('are at localhost only where the kernel can: bridged packets must not pass its rules', async () => {
    show(lab.node, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-ip6tables=1');
    await lab.call('setPorts', [six(8080, 3)]);
    equal(await ask(lab.client, NODE, 8080), `b ${CLIENT}`);
    equal(await ask(lab.node, NODE, 8080), 'b');
    match(
      show(lab.node, 'bash', '-c', 'exec 2>&1; exec 3<>/dev/tcp/ip6-localhost/8080 || exec 3<>/dev/tcp/::1/8080'),
      /refused/,
    );
    show(lab.node, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-ip6tables=0');
    await lab.call('setPorts', [six(8080, 2, 3)]);
    match((await ask(lab.node, '::1', 8080)) ?? '', /^[ab]$/);
  });

  it('come again when somebody flushes the rules, and go with the last of them', async () => {
    show(lab.node, 'nft', 'flush', 'ruleset');
    await lab.call('setPorts', [six(8080, 2)]);
    equal(await ask(lab.client, NODE, 8080), `a ${CLIENT}`);
    await lab.call('setPorts', []);
    equal(await ask(lab.client, NODE, 8080), undefined);
  });

  it('are refused where another process listens on IPv6', async () => {
    const script =
      "require('net').createServer().listen({ port: 8090, host: '::', ipv6Only: true }, () => console.log('ready'))";
    const other: ChildProcess = spawn('nsenter', [`--net=${lab.node}`, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(other.stdout ?? other, 'data');
      const [refused] = await lab.call('setPorts', [six(8090, 2)]);
      match(
        refused?.reason ?? '',
        new RegExp(`in use by another process \\(.+, pid ${other.pid}\\): \\[::\\]:8090/tcp`),
      );
    } finally {
      other.kill('SIGKILL');
    }
  });
});
