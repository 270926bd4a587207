import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Machine } from '../e2e/machine.ts';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { buildEndpoint } from './network/endpoint-image.ts';
import type { Finding } from './network/probe.ts';
import { viewsOf } from './views.ts';

const NETWORKS = ['one', 'two', 'three'] as const;
const FIXED = '10.88.1.200';
/**
 * On every machine a container on each network, which says who it is and serves a page of many packets; and one with an address of its own.
 * @param node that the last one is on
 * @param endpoint path of the program of endpoint.c
 */
const matrix = (node: string, endpoint: string): string => `services:
${NETWORKS.map(
  (name) => `  on-${name}:
    image: busybox
    command: [sh, -c, "head -c 100000 /dev/zero > /page; httpd -p 8080 -h /; exec /endpoint"]
    volumes: ["${endpoint}:/endpoint:ro"]
    stop_grace_period: 100ms
    networks: [${name}]
    deploy: { replicas: 5, placement: { max_replicas_per_node: 1 } }
`,
).join('')}  fixed:
    image: busybox
    command: [/endpoint]
    volumes: ["${endpoint}:/endpoint:ro"]
    stop_grace_period: 100ms
    networks: { one: { ipv4_address: ${FIXED} } }
    deploy: { placement: { constraints: [node.hostname == ${node}] } }
networks:
  one: { ipam: { config: [subnet: 10.88.1.0/24] } }
  two: {}
  three: {}
`;
const PROBE = join(import.meta.dirname, 'network', 'probe.ts');
const run = promisify(execFile);

/** A container of a service, as it is found from a manager. */
interface Seen {
  readonly service: string;
  readonly index: number;
  readonly address: string;
  readonly hostname: string;
  /** Name of its node. */
  readonly node: string;
}

describe('overlay networks', function () {
  let lab: Lab;
  let folder: string;
  let endpoint: string;
  before(function () {
    this.timeout(180_000);
    lab = Lab.create('tsovl', 5);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
    endpoint = join(manager().dir, 'endpoint');
    buildEndpoint(endpoint);
    folder = manager().project('matrix', { 'compose.yaml': matrix('m1', endpoint) });
    manager().composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const manager = (): Machine => lab.machine(0);
  const { nodes, tasks } = viewsOf(() => lab);
  const inside = ({ service, index }: Pick<Seen, 'service' | 'index'>, ...argv: readonly string[]) =>
    manager().compose(folder, 'exec', '-T', '--index', String(index), service, ...argv);
  const seen = (service: string, index: number): Seen => {
    const { code, stdout, stderr } = inside({ service, index }, 'sh', '-c', 'hostname -i && hostname');
    assert.equal(code, 0, stderr);
    const [address = '', hostname = ''] = stdout.trim().split('\n');
    const task = tasks().find(({ name, state }) => name === `matrix-${service}-${index}` && /^running/.test(state));
    return { service, index, address, hostname, node: task?.node ?? '' };
  };
  const on = (network: string): Seen[] =>
    tasks()
      .filter(({ state }) => state.startsWith('running'))
      .flatMap(({ name }) => new RegExp(`^matrix-on-${network}-(\\d+)$`).exec(name)?.[1] ?? [])
      .map((index) => seen(`on-${network}`, Number(index)));
  /** Addresses from which a container gets the whole page; all at once, for each that is none takes a while. */
  const reached = (from: Seen, to: readonly Pick<Seen, 'address'>[]): string[] => {
    const ask = ({ address }: Pick<Seen, 'address'>): string =>
      `timeout 4 wget -q -O - http://${address}:8080/page 2>/dev/null | wc -c | sed s/^/${address}:/ &`;
    const { code, stdout, stderr } = inside(from, 'sh', '-c', `${to.map(ask).join('\n')}\nwait`);
    assert.equal(code, 0, stderr);
    const whole = stdout.split('\n').filter((line) => line.endsWith(':100000'));
    return whole.map((line) => line.split(':')[0] ?? '').sort();
  };
  /** What names and addresses lead to in a container. */
  const probe = async ({ hostname, node }: Seen, ...names: readonly string[]): Promise<readonly Finding[]> => {
    const namespaces = join(lab.machine(Number(node.slice(1))).dir, 'run', 'engine', 'netns');
    const file = readdirSync(namespaces).find((id) => id.startsWith(hostname)) ?? '';
    const { stdout } = await run('nsenter', [`--net=${join(namespaces, file)}`, process.execPath, PROBE, ...names]);
    return JSON.parse(stdout) as readonly Finding[];
  };
  const words = (of: readonly Seen[]): string[] => of.map(({ address, hostname }) => `${address} ${hostname}`).sort();
  const addresses = (of: readonly Seen[]): string[] => of.map(({ address }) => address).sort();
  const demandAll = (all: readonly Seen[]): void => {
    for (const from of all)
      assert.deepEqual(reached(from, all), addresses(all), `from ${from.service} ${from.index} on ${from.node}`);
  };
  /** Tunnels of a machine, and what is in them, as the kernel shows it. */
  const tunnels = (index: number): string[] => {
    const forwarding = lab.machine(index).inside(['bridge', 'fdb', 'show']).split('\n');
    const neighbours = lab.machine(index).inside(['ip', 'neighbour', 'show', 'nud', 'permanent']).split('\n');
    return [...forwarding.filter((line) => / dst |static/.test(line)), ...neighbours].map((line) => line.trim()).sort();
  };

  it('connect every container on a network with every other one, with pages of many packets', () => {
    const all = NETWORKS.flatMap((name) => on(name));
    assert.equal(new Set(all.map(({ node }) => node)).size, 5);
    for (const name of NETWORKS) demandAll(all.filter(({ service }) => service === `on-${name}`));
  });

  it('lead by every name to who bears it, over TCP and UDP, and reach neither names nor addresses of another network', async () => {
    const all = NETWORKS.flatMap((name) => on(name));
    assert.equal(all.length, 15);
    const ask = async (from: Seen): Promise<void> => {
      const where = `from ${from.service} ${from.index} on ${from.node}`;
      const mine = all.filter(({ service }) => service === from.service);
      const others = all.filter(({ service }) => service !== from.service);
      const foreign = [...new Set(others.map(({ service }) => service))];
      const own = mine.map(({ service, index }) => `matrix-${service}-${index}`);
      const [virtual, tasks, ...rest] = await probe(
        from,
        from.service,
        `tasks.${from.service}`,
        ...own,
        ...foreign.flatMap((service) => [`!${service}`, `!tasks.${service}`]),
        ...others.map(({ address }) => `!${address}`),
      );
      assert.ok(virtual !== undefined && tasks !== undefined);
      assert.equal(virtual.addresses.length, 1, where);
      assert.ok(!addresses(mine).includes(virtual.addresses[0] ?? ''), where);
      for (const said of [virtual.tcp, virtual.udp])
        assert.ok(words(mine).includes(said[0] ?? ''), `${where}: ${said[0]}`);
      assert.deepEqual([tasks.addresses, tasks.tcp, tasks.udp], [addresses(mine), words(mine), words(mine)], where);
      mine.forEach((one, index) => {
        const { tcp, udp, addresses: found } = rest[index] ?? {};
        assert.deepEqual([found, tcp, udp], [[one.address], words([one]), words([one])], `${where} to ${own[index]}`);
      });
      for (const { name, rcode, addresses: found, tcp, udp } of rest.slice(mine.length)) {
        assert.deepEqual([...tcp, ...udp].filter(Boolean), [], `${where}: ${name} answers`);
        if (/^\d/.test(name)) continue;
        assert.notEqual(rcode, 'NOERROR', `${where}: ${name}`);
        assert.deepEqual(found, [], `${where}: ${name}`);
      }
    };
    for (const half of [all.slice(0, 8), all.slice(8)]) await Promise.all(half.map(ask));
  });

  it('lead to the new bearer of an address, on every node and from the first moment', async () => {
    const before = seen('fixed', 1);
    assert.deepEqual([before.address, before.node], [FIXED, 'm1']);
    const mine = on('one');
    // Everybody has talked to the one that has it now.
    for (const found of await Promise.all(mine.map((from) => probe(from, FIXED))))
      assert.deepEqual(found[0]?.udp, words([before]));
    manager().project('matrix', { 'compose.yaml': matrix('m2', endpoint) });
    manager().composeOk(folder, 'up', '-d', '--wait');
    const after = seen('fixed', 1);
    assert.deepEqual([after.address, after.node], [FIXED, 'm2']);
    assert.notEqual(after.hostname, before.hostname);
    for (const from of mine) {
      const found = await probe(from, FIXED, 'fixed', 'tasks.fixed');
      const wanted = words([after]);
      const where = `from ${from.service} ${from.index} on ${from.node}`;
      for (const { name, tcp, udp } of found) assert.deepEqual([tcp, udp], [wanted, wanted], `${where}: ${name}`);
    }
  });

  it('carry packets as large as containers are told, and whole where they are larger', () => {
    const [from, to] = on('one');
    assert.ok(from !== undefined && to !== undefined);
    assert.match(inside(from, 'cat', '/sys/class/net/eth0/mtu').stdout, /^1450\n/);
    for (const size of ['1422', '4000']) {
      const { code, stdout } = inside(from, 'ping', '-c', '1', '-W', '2', '-s', size, to.address);
      assert.equal(code, 0, `${size} bytes: ${stdout}`);
    }
  });

  it('ask nobody for addresses, and carry nothing of a node itself: its gateway address is on every node', () => {
    const [from, to] = on('one');
    assert.ok(from !== undefined && to !== undefined);
    const there = lab.machine(Number(to.node.slice(1)));
    const gateway = to.address.replace(/\d+$/, '1');
    const hex = gateway.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
    // Behind the UDP and VXLAN headers: type, destination and source of the inner frame.
    const rules = `table netdev lab {
      chain wire {
        type filter hook ingress device "wire" priority 0
        udp dport 4789 @th,224,16 0x0800 counter comment "packets"
        udp dport 4789 @th,128,48 0xffffffffffff counter comment "broadcasts"
        udp dport 4789 @th,176,48 0x0242${hex.join('')} counter comment "gateway"
      }
    }
`;
    assert.equal(there.runWith({ input: rules }, 'nft', '-f', '-').code, 0);
    try {
      inside(from, 'sh', '-c', `ip neigh flush dev eth0 2>/dev/null; true`);
      assert.equal(inside(from, 'ping', '-c', '2', '-W', '2', to.address).code, 0);
      const own = lab.machine(Number(from.node.slice(1)));
      // Its question would arrive, and the answer stay on the other node.
      assert.equal(own.fetch(`http://${to.address}:8080/page`, '--connect-timeout', '1'), undefined);
      const counters = there.inside(['nft', 'list', 'table', 'netdev', 'lab']);
      const count = (what: string): number => Number(new RegExp(`packets (\\d+) .*"${what}"`).exec(counters)?.[1]);
      assert.ok(count('packets') >= 2, counters);
      assert.deepEqual([count('broadcasts'), count('gateway')], [0, 0], counters);
    } finally {
      there.run('nft', 'delete', 'table', 'netdev', 'lab');
    }
  });

  it('go on while a daemon is killed and started again, with nothing taken out and put in again', async () => {
    const before = tunnels(3);
    assert.ok(before.some((line) => line.includes(`dst ${lab.address(1)}`)));
    const monitor = lab.machine(3).start('ip', 'monitor', 'neigh', 'link');
    let said = '';
    monitor.stdout.on('data', (data: Buffer) => (said += String(data)));
    await lab.kill(3);
    lab.start(3);
    await eventually(() => (nodes().includes('m3 Ready Active') ? true : undefined), 'the node back');
    demandAll(on('one').filter(({ node }) => ['m0', 'm3'].includes(node)));
    assert.deepEqual(tunnels(3), before);
    monitor.kill('SIGKILL');
    const deleted = said.split('\n').filter((line) => /^Deleted.*(tsx-|PERMANENT)/.test(line));
    assert.deepEqual(deleted, []);
  });

  it('are mended when the daemon starts: what is missing is made, what is stale goes', async () => {
    const before = tunnels(4);
    const there = lab.machine(4);
    const links = there.inside(['ip', '-details', 'link', 'show', 'type', 'vxlan']);
    const [device = ''] = /tsx-[a-z0-9]+/.exec(links) ?? [];
    const [, instance = ''] = /alias tsswarm (\S+) /.exec(links) ?? [];
    await lab.kill(4);
    there.inside(['ip', 'link', 'delete', device]);
    const stale = ['type', 'vxlan', 'id', '77', 'dstport', '4789', 'nolearning'];
    there.inside(['ip', 'link', 'add', 'tsx-stale', ...stale]);
    there.inside(['ip', 'link', 'set', 'tsx-stale', 'alias', `tsswarm ${instance} stale tunnel`]);
    lab.start(4);
    await eventually(() => (tunnels(4).join() === before.join() ? true : undefined), 'everything as it was');
    await eventually(() => (there.run('ip', 'link', 'show', 'tsx-stale').code === 0 ? undefined : true), 'only ours');
    demandAll(on('two').filter(({ node }) => ['m1', 'm4'].includes(node)));
  });

  it('follow a machine to another address', async () => {
    await lab.kill(3);
    const moved = '10.77.0.34';
    lab.machine(3).inside(['ip', 'address', 'delete', `${lab.address(3)}/24`, 'dev', 'wire']);
    lab.machine(3).inside(['ip', 'address', 'add', `${moved}/24`, 'dev', 'wire']);
    lab.machine(3).ok('tsswarm', 'init', '--no-systemd', '--data-path-addr', 'wire');
    await eventually(
      () => (tunnels(0).some((line) => line.includes(`dst ${lab.address(3)} `)) ? undefined : true),
      'nobody sends to the old address',
    );
    assert.ok(tunnels(0).some((line) => line.includes(`dst ${moved} `)));
    demandAll(on('three').filter(({ node }) => ['m0', 'm3'].includes(node)));
  });

  it('are whole again when a link was cut and healed, with what came meanwhile', async () => {
    lab.cut(4);
    await eventually(() => (nodes().includes('m4 Down Active') ? true : undefined), 'the node down', 30_000);
    manager().composeOk(folder, 'up', '-d', '--scale', 'on-one=4', '--no-deps', 'on-one');
    lab.heal(4);
    await eventually(() => (nodes().includes('m4 Ready Active') ? true : undefined), 'the node back', 30_000);
    manager().composeOk(folder, 'up', '-d', '--wait');
    demandAll(on('one'));
  });

  it('lead nowhere any more where a machine was switched off', async () => {
    await lab.powerOff(4);
    try {
      await eventually(() => (nodes().includes('m4 Down Active') ? true : undefined), 'the node down', 30_000);
      await eventually(
        () => (tunnels(0).some((line) => line.includes(`dst ${lab.address(4)} `)) ? undefined : true),
        'nothing leads there',
        60_000,
      );
      demandAll(on('one'));
      const left = on('one');
      const [from] = left;
      assert.ok(from !== undefined);
      const found = await probe(from, 'tasks.on-one', ...Array.from({ length: 20 }, () => 'on-one'));
      assert.deepEqual(found[0]?.udp, words(left));
      for (const { tcp, udp } of found)
        for (const word of [...tcp, ...udp]) assert.ok(words(left).includes(word), word);
    } finally {
      lab.heal(4);
      lab.start(4);
    }
  });
});
