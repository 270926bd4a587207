import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

/** A container on each machine, and a port that each hands on to the others. */
const PROJECT = `services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    ports: ["8080:80"]
    deploy: { mode: global }
`;

interface Check {
  readonly node: string;
  readonly name: string;
  readonly subject: string;
  readonly status: string;
  readonly message: string;
}

describe('tsswarm network doctor between machines', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsdoc', 3);
    lab.form(2);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());
  /** What is asked of names that are not ours is nothing of the lab's. */
  const checks = (at = 0): readonly Check[] =>
    (JSON.parse(lab.machine(at).run('tsswarm', 'network', 'doctor', '--json').stdout) as readonly Check[]).filter(
      ({ name }) => name !== 'dns',
    );
  const faults = (at = 0): readonly string[] =>
    checks(at).flatMap(({ node, status, name, subject, message }) =>
      status === 'broken' ? [`${node} ${name} ${subject}: ${message}`] : [],
    );
  const paths = (): readonly string[] =>
    checks().flatMap(({ node, name, subject, status }) => (name === 'path' ? [`${node} ${subject} ${status}`] : []));

  const all = ['m0 m1 ok', 'm0 m2 ok', 'm1 m0 ok', 'm1 m2 ok', 'm2 m0 ok', 'm2 m1 ok'];

  it('tries the ways between machines that share nothing yet, and leaves nothing of it', async () => {
    await eventually(() => ([...paths()].sort().join() === all.join() ? true : undefined), 'all ways to be in order');
    for (const machine of lab.machines) assert.doesNotMatch(machine.inside(['ip', 'link']), /vxlan|ts-/);
  });

  it('finds the ways between all of them in order, from any manager', async () => {
    const folder = lab.machine(0).project('each', { 'compose.yaml': PROJECT });
    lab.machine(0).composeOk(folder, 'up', '-d');
    await eventually(() => ([...paths()].sort().join() === all.join() ? true : undefined), 'all ways to be in order');
    assert.deepEqual(faults(), []);
    assert.deepEqual(faults(1), []);
    // A worker knows of none but itself.
    assert.deepEqual([...new Set(checks(2).map(({ node }) => node))], ['m2']);
  });

  it('finds a port for packets between machines that is closed', () => {
    const script = 'table ip closed { chain input { type filter hook input priority 0; udp dport 4789 drop; }; }';
    lab.machine(2).runWith({ input: script }, 'nft', '-f', '-');
    const found = faults();
    lab.machine(2).inside(['nft', 'delete', 'table', 'ip', 'closed']);
    const closed = found.filter((line) => line.includes('does not answer through the tunnel'));
    assert.deepEqual(found, closed);
    assert.ok(
      closed.some((line) => line.startsWith('m0 path m2:')),
      found.join('\n'),
    );
    assert.ok(!closed.some((line) => line.startsWith('m0 path m1:')), found.join('\n'));
  });

  it('finds a way that carries less than the machines think', () => {
    // Pieces are lost as well, as with many firewalls.
    const { namespace } = lab.openSwitch();
    const mtu = (bytes: string): void =>
      void execFileSync('ip', ['-n', namespace, 'link', 'set', 'port1', 'mtu', bytes]);
    mtu('1300');
    const found = faults();
    mtu('1500');
    const short = found.filter((line) => line.includes('but packets of 1450 bytes get lost on the way'));
    assert.deepEqual(found, short);
    assert.ok(
      short.some((line) => line.startsWith('m0 path m1:')),
      found.join('\n'),
    );
  });

  it('finds a forwarding entry that somebody took away', () => {
    const machine = lab.machine(0);
    const device = /: (tsx-[0-9a-z]+):/.exec(machine.inside(['ip', 'link']))?.[1] ?? '';
    const entries = machine.inside(['bridge', 'fdb', 'show', 'dev', device]);
    const [, mac = '', peer = ''] = /^(\S+) dst (\S+)/m.exec(entries) ?? [];
    machine.inside(['bridge', 'fdb', 'del', mac, 'dev', device, 'dst', peer, 'self']);
    assert.match(faults().join('\n'), /^m0 entries each_default: 1 of 2 addresses on other nodes cannot be reached/);
    machine.inside(['bridge', 'fdb', 'add', mac, 'dev', device, 'dst', peer, 'self', 'permanent']);
    assert.deepEqual(faults(), []);
    const vni = /vxlan id (\d+)/.exec(machine.inside(['ip', '-details', 'link', 'show', device]))?.[1] ?? '';
    machine.inside(['ip', 'link', 'del', device]);
    assert.match(faults().join('\n'), /m0 tunnel each_default: its VXLAN device \(VNI \d+\) is missing/);
    machine.inside(['ip', 'link', 'add', 'foreign', 'type', 'vxlan', 'id', vni, 'dstport', '4789']);
    assert.match(faults().join('\n'), /m0 tunnel each_default: the interface "foreign" of somebody else has its VXLAN/);
    machine.inside(['ip', 'link', 'del', 'foreign']);
  });

  it('finds a machine that is down', async () => {
    await lab.kill(2);
    await eventually(
      () => (faults().some((line) => line.startsWith('m2 node : the node is down')) ? true : undefined),
      'the machine to be down',
    );
    lab.start(2);
  });
});
