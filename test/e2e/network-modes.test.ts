import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

const PROJECT = `services:
  net:
    image: busybox
    command: sleep 1000
    init: true
    restart: always
    ports: ["8077:80"]
    stop_grace_period: 1s
  web:
    image: busybox
    command: sh -c 'mkdir /w; echo served >/w/index.html; exec httpd -f -p 80 -h /w'
    init: true
    network_mode: service:net
    stop_grace_period: 1s
  other: {image: busybox, command: sleep 1000, init: true, stop_grace_period: 1s}
  host: {image: busybox, command: sleep 1000, init: true, network_mode: host, stop_grace_period: 1s}
  none: {image: busybox, command: sleep 1000, init: true, network_mode: none, stop_grace_period: 1s}
`;

describe('network modes', function () {
  let machine: Machine;
  let folder = '';
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('modes', { 'compose.yaml': PROJECT });
    machine.composeOk(folder, 'up', '-d');
  });
  after(() => machine.dispose());
  const exec = (service: string, ...argv: readonly string[]): string =>
    machine.composeOk(folder, 'exec', '-T', service, ...argv);
  /** The network namespace that a container is in. */
  const namespace = (service: string): string => exec(service, 'readlink', '/proc/self/ns/net');
  const page = (): string | undefined => machine.fetch('http://127.0.0.1:8077/');

  it('service: the container has the network of the other, its names and its ports', async () => {
    assert.equal(namespace('web'), namespace('net'));
    assert.notEqual(namespace('web'), namespace('other'));
    assert.equal(await eventually(page, 'the page'), 'served\n');
    assert.equal(exec('net', 'wget', '-qO-', 'http://127.0.0.1/'), 'served\n');
    // The names of the network are known to it; it has none of its own there.
    assert.match(exec('web', 'ping', '-c1', '-W2', 'other'), /1 packets received/);
    assert.equal(exec('other', 'wget', '-qO-', 'http://net/'), 'served\n');
    assert.notEqual(machine.compose(folder, 'exec', '-T', 'other', 'ping', '-c1', '-W1', 'web').code, 0);
    assert.equal(exec('web', 'hostname', '-i').trim(), exec('net', 'hostname', '-i').trim());
  });

  it('service: the container follows the other when that is replaced, and keeps its network in a restart', async () => {
    machine.composeOk(folder, 'restart', 'net');
    assert.equal(namespace('web'), namespace('net'));
    assert.equal(await eventually(page, 'the page after the restart'), 'served\n');
    const before = namespace('web');
    // Restarted by its policy: another container, with another network.
    machine.compose(folder, 'exec', '-T', 'net', 'kill', '-9', '-1');
    await eventually(() => {
      try {
        return namespace('web') !== before && namespace('web') === namespace('net') ? true : undefined;
      } catch {
        return undefined;
      }
    }, 'the container to be in the new network');
    assert.equal(await eventually(page, 'the page of the new container'), 'served\n');
  });

  it('host: the network is the node\u2019s; none: there is only loopback', () => {
    const links = (text: string): string[] => [...text.matchAll(/^\d+: ([^:@]+)/gm)].map(([, name]) => name ?? '');
    assert.deepEqual(links(exec('host', 'ip', 'link')).sort(), links(machine.inside(['ip', 'link'])).sort());
    assert.deepEqual(
      links(exec('none', 'ip', 'link')).filter((name) => !/^(tunl|sit|ip6|gre|erspan|ip_vti)/.test(name)),
      ['lo'],
    );
    assert.equal(exec('host', 'cat', '/etc/resolv.conf'), machine.run('cat', '/etc/resolv.conf').stdout);
    assert.match(exec('none', 'ping', '-c1', '127.0.0.1'), /1 packets received/);
    assert.notEqual(machine.compose(folder, 'exec', '-T', 'none', 'ping', '-c1', '-W1', '10.210.0.1').code, 0);
  });

  it('a container of "run" joins, too', () => {
    assert.equal(
      machine.composeOk(folder, 'run', '--rm', '-T', 'web', 'wget', '-qO-', 'http://127.0.0.1/'),
      'served\n',
    );
  });
});
