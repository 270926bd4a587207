import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const PROJECT = `services:
  server:
    image: busybox
    command: [sh, -c, "echo page > /page; httpd -f -p 80 -h /"]
    stop_grace_period: 100ms
    networks: [plain, secret]
    ports: ["8080:80"]
    deploy: { placement: { constraints: [node.hostname==m1] } }
  client:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    networks: [plain, secret]
    deploy: { placement: { constraints: [node.hostname==m0] } }
networks:
  plain: {}
  secret: { driver_opts: { encrypted: "" } }
`;

describe('machines that reach each other by IPv6 only', function () {
  let lab: Lab;
  let folder: string;
  before(function () {
    this.timeout(180_000);
    lab = Lab.createIpv6('tsund', 2);
    lab.form(2);
    for (const machine of lab.machines) machine.load(['busybox']);
    folder = lab.machine(0).project('six', { 'compose.yaml': PROJECT });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const inside = (...argv: readonly string[]): string =>
    lab.machine(0).compose(folder, 'exec', '-T', 'client', ...argv).stdout;
  const addressOn = (network: string): string =>
    /Address(?: 1)?: (10\.\S+)/.exec(inside('nslookup', `server.six_${network}`).split('Name:')[1] ?? '')?.[1] ?? '';

  it('are one cluster, with two managers', () => {
    const nodes = lab.machine(1).ok('tsswarm', 'node', 'ls');
    assert.match(nodes, /m0 .*Ready/);
    assert.match(nodes, /m1 .*Ready/);
    assert.match(lab.machine(0).inside(['ss', '-Hltn', 'sport', '=', ':2377']), /(\[::\]|\*):2377/);
  });

  it('carry networks over IPv6, encrypted ones too, with packets as large as fits', async () => {
    const page = (network: string): string =>
      inside('timeout', '3', 'wget', '-q', '-O', '-', `http://server.six_${network}/page`).trim();
    for (const network of ['plain', 'secret'])
      await eventually(() => (page(network) === 'page' ? true : undefined), `the server on the network "${network}"`);
    const sizes = inside('sh', '-c', 'cat /sys/class/net/eth*/mtu').trim().split('\n').sort();
    // 70 bytes around a frame; encrypted ones have 80 around what has 50 around it.
    assert.deepEqual(sizes, ['1370', '1430']);
    for (const [network, size] of [
      ['plain', '1402'],
      ['secret', '1342'],
    ] as const)
      // prettier-ignore
      assert.match(inside('ping', '-c', '1', '-W', '2', '-s', size, addressOn(network)), /1 packets received/, network);
    const tunnels = lab.machine(0).inside(['ip', '-details', 'link', 'show', 'type', 'vxlan']);
    assert.match(tunnels, /local fd77::1 /);
    assert.match(lab.machine(0).inside(['wg', 'show', 'all', 'endpoints']), /\[fd77::2\]:4790/);
  });

  it('hand published ports on to each other', async () => {
    await eventually(
      () => (lab.machine(0).run('curl', '-s', 'http://127.0.0.1:8080/page').stdout === 'page\n' ? true : undefined),
      'the port on the machine without the container',
    );
  });

  it('are found in order by the doctor', () => {
    const { stdout } = lab.machine(0).run('tsswarm', 'network', 'doctor', '--json');
    const checks = JSON.parse(stdout) as { name: string; status: string; node: string; message: string }[];
    const faults = checks.filter(({ name, status }) => status === 'broken' && name !== 'dns');
    assert.deepEqual(faults, []);
    assert.equal(checks.filter(({ name, status }) => name === 'path' && status === 'ok').length, 2);
  });
});
