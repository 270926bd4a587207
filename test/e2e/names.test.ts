import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

const SERVER = `require("http").createServer((request, reply) => reply.end(require("os").hostname())).listen(80, "::")`;
const PROJECT = `services:
  web:
    image: node:24-slim
    command: ["node", "-e", ${JSON.stringify(SERVER.replaceAll('$', '$$'))}]
    init: true
    stop_grace_period: 1s
    deploy: {replicas: 2}
    networks: {front: {aliases: [shop]}}
  alone:
    image: node:24-slim
    command: sleep 1000
    init: true
    stop_grace_period: 1s
    links: ["web:store"]
    mac_address: 02:42:ac:11:65:43
    dns_search: [corp.example]
    dns_opt: ["timeout:1", "attempts:1"]
    networks:
      back: {interface_name: lan0}
      front: {priority: 10, gw_priority: 1, ipv4_address: 10.88.0.77, ipv6_address: "fd00:88::77"}
networks:
  front:
    enable_ipv6: true
    driver_opts: {com.docker.network.driver.mtu: "1400"}
    ipam:
      config:
        - {subnet: 10.88.0.0/24, ip_range: 10.88.0.64/26, aux_addresses: {printer: 10.88.0.66}}
        - {subnet: "fd00:88::/64"}
  back: {}
`;

/** Looks names up as programs do, by the C library: "name 4or6" → addresses, sorted. */
const LOOKUP = `
  const [name, family] = process.argv.slice(1);
  require("dns").lookup(name, { all: true, family: Number(family) }, (error, found = []) =>
    console.log(error ? error.code : found.map(({ address }) => address).sort().join(" ")));`;
const GET = `fetch(process.argv[1], { signal: AbortSignal.timeout(3000) }).then((reply) => reply.text())
  .then(console.log, (error) => console.log(String(error.cause ?? error)))`;

describe('names and addresses of a project', function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(180_000);
    machine = Machine.bare(`tsnames${process.pid}`);
    machine.inside(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0']);
    machine.ok(
      'tsswarm',
      'init',
      '--no-systemd',
      '--default-addr-pool',
      '10.99.0.0/16',
      '--default-addr-pool-mask-length',
      '26',
    );
    machine.load(['node']);
    folder = machine.project('shop', { 'compose.yaml': PROJECT });
    machine.composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => machine.dispose());
  const inside = (...argv: readonly string[]): string =>
    machine.compose(folder, 'exec', '-T', 'alone', ...argv).stdout.trim();
  const lookup = (name: string, family: 4 | 6): string => inside('node', '-e', LOOKUP, name, String(family));

  it('lead to services by virtual addresses of both kinds, by every name', () => {
    const [ipv4, ipv6] = [lookup('web', 4), lookup('web', 6)];
    assert.match(ipv4, /^10\.88\.0\.\d+$/);
    assert.match(ipv6, /^fd00:88::[0-9a-f]+$/);
    for (const name of ['shop', 'store', 'WEB', 'web.shop', 'shop_web', 'web.shop_front'])
      assert.equal(lookup(name, 4), ipv4, name);
    assert.equal(lookup('store', 6), ipv6);
    assert.match(lookup('tasks.web', 4), /^10\.88\.0\.\d+ 10\.88\.0\.\d+$/);
    assert.match(lookup('tasks.web', 6), /^fd00:88::[0-9a-f]+ fd00:88::[0-9a-f]+$/);
    assert.match(inside('node', '-e', GET, 'http://web'), /^[0-9a-f]{12}$/);
    assert.match(inside('node', '-e', GET, `http://[${ipv6}]`), /^[0-9a-f]{12}$/);
  });

  it('are unknown at once where there is nobody, and known by what containers call themselves', () => {
    // As it stands: no name server of the search domain can be asked here.
    assert.equal(lookup('nobody.', 4), 'ENOTFOUND');
    const self = inside('node', '-p', 'require("os").hostname()');
    assert.match(lookup(self, 4), /^10\.88\.0\.77 10\.99\.0\.\d+$/);
    assert.equal(lookup(self, 6), 'fd00:88::77');
    const other = inside('node', '-e', GET, 'http://shop-web-1');
    assert.match(lookup(other, 6), /^fd00:88::[0-9a-f]+$/);
    assert.equal(lookup(other, 6), lookup('shop-web-1', 6));
  });

  it('are configured as the service says', () => {
    assert.equal(
      inside('cat', '/etc/resolv.conf'),
      'nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0 timeout:1 attempts:1',
    );
    assert.match(inside('cat', '/etc/hosts'), /^10\.88\.0\.77\t[0-9a-f]{12}$/m);
    assert.match(inside('cat', '/etc/hosts'), /^fd00:88::77\t[0-9a-f]{12}$/m);
  });

  it('go with interfaces as the service says, and subnets from the pool of the cluster', () => {
    const links = JSON.parse(inside('node', '-p', 'JSON.stringify(require("os").networkInterfaces())')) as Record<
      string,
      { address: string; mac: string; cidr: string }[]
    >;
    assert.equal(links['eth0']?.[0]?.mac, '02:42:ac:11:65:43');
    assert.deepEqual(
      links['eth0']?.map(({ address }) => address).filter((address) => !address.startsWith('fe80')),
      ['10.88.0.77', 'fd00:88::77'],
    );
    assert.match(links['lan0']?.[0]?.cidr ?? '', /^10\.99\.0\.\d+\/26$/);
    assert.equal(
      links['lan0']?.some(({ address }) => address.includes(':')),
      false,
    );
    assert.equal(inside('cat', '/sys/class/net/eth0/mtu'), '1400');
    assert.match(inside('cat', '/proc/net/route'), /^eth0\t00000000\t0100580A/m);
  });

  it('lead nowhere any more as soon as nobody serves, and back when somebody does', async () => {
    machine.composeOk(folder, 'up', '-d', '--wait', '--scale', 'web=1');
    await eventually(() => (lookup('tasks.web', 4).split(' ').length === 1 ? true : undefined), 'one task');
    machine.composeOk(folder, 'up', '-d', '--wait', '--scale', 'web=3');
    await eventually(() => (lookup('tasks.web', 4).split(' ').length === 3 ? true : undefined), 'three tasks');
    const addresses = lookup('tasks.web', 4).split(' ');
    assert.ok(addresses.every((address) => Number(address.split('.')[3]) >= 64 && address !== '10.88.0.66'));
  });

  it('are refused where one address would be for several', () => {
    const { code, stderr } = machine.compose(folder, 'up', '-d', '--scale', 'alone=2');
    assert.notEqual(code, 0);
    assert.match(stderr, /it has the address 10\.88\.0\.77 on network "shop_front", and 2 replicas: one can have it/);
  });
});
