import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseNameservers } from '../../worker/overlay/dns/resolv-conf.ts';
import { Machine, eventually } from './machine.ts';

const PROJECT = `services:
  web: {image: busybox, command: sleep 1000, init: true, stop_grace_period: 1s}
networks: {default: {ipam: {config: [{subnet: 10.99.7.0/24}]}}}
`;
/** Answers every datagram with itself: as much of a DNS server as the doctor asks for. */
const ECHO = `const socket = require('dgram').createSocket('udp4');
  socket.on('message', (data, { port, address }) => socket.send(data, port, address));
  socket.bind(53, '0.0.0.0', () => console.log('ready'))`;

interface Check {
  readonly name: string;
  readonly subject: string;
  readonly status: string;
  readonly message: string;
  readonly hint: string;
}

describe('tsswarm network doctor', function () {
  let machine: Machine;
  let folder = '';
  let bridge = '';
  let echo: ReturnType<Machine['start']>;
  const servers = parseNameservers(readFileSync('/etc/resolv.conf', 'utf8'));
  before(async function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    for (const server of servers) machine.run('ip', 'address', 'add', `${server}/32`, 'dev', 'lo');
    echo = machine.start(process.execPath, '-e', ECHO);
    await new Promise((resolve) => echo.stdout.once('data', resolve));
    folder = machine.project('sick', { 'compose.yaml': PROJECT });
    machine.composeOk(folder, 'up', '-d');
    bridge = /: (ts-[0-9a-z]+):/.exec(machine.inside(['ip', 'link']))?.[1] ?? '';
  });
  after(() => {
    echo.kill('SIGKILL');
    machine.dispose();
  });
  const checks = (): readonly Check[] =>
    JSON.parse(machine.run('tsswarm', 'network', 'doctor', '--json').stdout) as Check[];
  /** What is broken, and only that. */
  const faults = (): readonly string[] =>
    checks().flatMap(({ status, name, message, hint }) => {
      if (status !== 'broken') return [];
      assert.notEqual(hint, '', message);
      return [`${name}: ${message}`];
    });
  const breaks = (argv: string, expected: RegExp, mend: string): void => {
    machine.inside(argv.split(' '));
    try {
      const found = faults();
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0] ?? '', expected);
      const { code, stdout } = machine.run('tsswarm', 'network', 'doctor');
      assert.equal(code, 1);
      assert.match(stdout, /BROKEN .*\n {2}do: .*\n/);
      assert.match(stdout, /1 of \d+ checks found something broken\.\n$/);
    } finally {
      machine.inside(['sh', '-c', mend]);
    }
    assert.deepEqual(faults(), []);
  };

  it('finds nothing where nothing is broken, and ends with 0', () => {
    assert.match(bridge, /^ts-/);
    const { code, stdout } = machine.run('tsswarm', 'network', 'doctor');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^NODE +RESULT +CHECK +WHAT\n/);
    assert.match(stdout, /OK +bridge sick_default +bridge "ts-\S+" with 10\.99\.7\.1\/24 and its rules\n/);
    assert.match(stdout, /Nothing is broken\.\n$/);
  });

  it('finds a kernel that does not forward', () => {
    breaks(
      'sysctl -qw net.ipv4.ip_forward=0',
      /^forwarding: the kernel does not forward/,
      'sysctl -qw net.ipv4.ip_forward=1',
    );
  });

  it('finds a firewall that drops, and is content with the rule that it advises', () => {
    const advised = 'iptables -I FORWARD -i ts-+ -j ACCEPT; iptables -I FORWARD -o ts-+ -j ACCEPT';
    breaks('iptables -P FORWARD DROP', /^firewall: this chain drops what containers send and get/, advised);
    machine.inside(['sh', '-c', 'iptables -P FORWARD ACCEPT; iptables -F FORWARD']);
  });

  it('finds a bridge that is down, or without its address', () => {
    breaks(`ip link set ${bridge} down`, /^bridge: its bridge "ts-\S+" is down/, `ip link set ${bridge} up`);
    const address = `10.99.7.1/24 dev ${bridge}`;
    breaks(
      `ip address del ${address}`,
      /^bridge: .* lacks the gateway's address 10\.99\.7\.1\/24/,
      `ip address add ${address}`,
    );
  });

  it('finds a route of the node that leads into a network', () => {
    machine.inside(['ip', 'link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'rehto']);
    machine.inside(['ip', 'link', 'set', 'other', 'up']);
    const through = '10.99.7.0/25 dev other';
    breaks(
      `ip route add ${through}`,
      /^routes: its subnet 10\.99\.7\.0\/24 overlaps with the node's route to 10\.99\.7\.0\/25/,
      `ip route del ${through}`,
    );
    machine.inside(['ip', 'link', 'del', 'other']);
  });

  it('finds a DNS server that does not answer, where the node has one', async () => {
    const asked = checks().filter(({ name }) => name === 'dns');
    assert.equal(asked.length, servers.length);
    if (servers.length === 0) return;
    echo.kill('SIGKILL');
    await eventually(
      () => (echo.exitCode === null && echo.signalCode === null ? undefined : true),
      'the server to end',
    );
    assert.match(faults().join(), /^dns: the server does not answer/);
    echo = machine.start(process.execPath, '-e', ECHO);
    await new Promise((resolve) => echo.stdout.once('data', resolve));
    assert.deepEqual(faults(), []);
  });

  it('finds a bridge that somebody took away, and no rules that somebody flushed: they are there again', async () => {
    machine.inside(['nft', 'flush', 'ruleset']);
    await eventually(() => (faults().length === 0 ? true : undefined), 'the rules');
    machine.inside(['ip', 'link', 'del', bridge]);
    assert.match(faults().join(), /bridge: its bridge is missing on this node/);
  });

  it('finds it again when the next container has been started on its network, which reaches those from before', async () => {
    machine.composeOk(folder, 'up', '-d', '--scale', 'web=2');
    assert.deepEqual(faults(), []);
    // A look joins those from before to the new bridge.
    machine.composeOk(folder, 'ps', '--drift');
    const reaches = (): boolean =>
      machine.compose(folder, 'exec', '-T', '--index', '2', 'web', 'ping', '-c1', '-W1', 'sick-web-1').code === 0;
    await eventually(() => (reaches() ? true : undefined), 'the new container to reach the other');
  });
});
