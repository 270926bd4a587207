import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import type { Outcome } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

const stack = (text: string): string => `services:
  web:
    image: busybox
    command: ["sh", "-c", "echo ${text}; exec sleep 1000"]
    init: true
    deploy: { replicas: 3 }
`;

describe('services and stacks on several machines', function () {
  let lab: Lab;
  const { leader, nodes } = viewsOf(() => lab);
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tssvc', 3);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());
  const run = (via: number, ...argv: readonly string[]): Outcome => lab.machine(via).run('tsswarm', ...argv);
  const ok = (via: number, ...argv: readonly string[]): string => lab.machine(via).ok('tsswarm', ...argv);
  const lines = (text: string): readonly string[] => text.split('\n').filter(Boolean).sort();
  const hostnames = (): readonly string[] => lines(ok(0, 'node', 'ls', '--format', '{{.Hostname}}'));

  it('a service that is made at one manager runs on all machines, and is seen and changed at every other', async () => {
    const image = ['busybox', 'sh', '-c', 'echo one; exec sleep 1000'];
    ok(1, 'service', 'create', '--name', 'web', '--replicas', '3', '--init', '--update-monitor', '100ms', ...image);
    assert.deepEqual(lines(ok(2, 'service', 'ps', '--format', '{{.Node}}', 'web')), hostnames());
    const [first] = hostnames();
    assert.equal(lines(ok(2, 'service', 'ps', '-q', '-f', `node=${first ?? ''}`, 'web')).length, 1);
    ok(2, 'service', 'update', '--args', 'sh -c "echo two; exec sleep 1000"', 'web');
    const said = await eventually(() => {
      const { stdout } = run(0, 'service', 'logs', 'web');
      return lines(stdout).length === 3 ? lines(stdout) : undefined;
    }, 'what all three say');
    for (const [index, line] of said.entries())
      assert.match(line, new RegExp(`^web\\.${index + 1}\\.\\w+@\\S+ +\\| two$`));
    assert.equal(new Set(said.map((line) => /@(\S+)/.exec(line)?.[1])).size, 3);
  });

  it('a service of every node names its tasks after them', () => {
    ok(
      0,
      'service',
      'create',
      '--name',
      'agent',
      '--mode',
      'global',
      '--init',
      '--update-monitor',
      '0s',
      'busybox',
      'sleep',
      '1000',
    );
    const ids = lines(ok(0, 'node', 'ls', '-q'));
    assert.deepEqual(
      lines(ok(1, 'service', 'ps', '--format', '{{.Name}}', 'agent')),
      ids.map((id) => `agent.${id}`),
    );
    assert.match(ok(1, 'service', 'ls'), /agent +global +3\/3/);
    ok(1, 'service', 'rm', 'agent');
  });

  describe('with a container on two of them', () => {
    /** A container of a service on one machine. */
    interface Contained {
      readonly id: string;
      readonly pid: number;
    }
    const containerOf = (on: number, service: string): Contained => {
      const { dir } = lab.machine(on);
      const read = (path: string): unknown => JSON.parse(readFileSync(join(dir, path), 'utf8'));
      for (const id of readdirSync(join(dir, 'run/engine/containers'))) {
        const record = `state/engine/containers/${id}/container.json`;
        // What is on its way out goes piece by piece.
        if (!existsSync(join(dir, record))) continue;
        const { name } = read(record) as { readonly name: string };
        if (!name.startsWith(`${service}.`)) continue;
        return { id, pid: (read(`run/engine/containers/${id}/state.json`) as { readonly pid: number }).pid };
      }
      return assert.fail(`machine ${on} has no container of ${service}`);
    };
    const ask = (on: number, service: string, host: string): Outcome => {
      const { pid } = containerOf(on, service);
      const fetch = ['/bin/busybox', 'timeout', '10', 'wget', '-q', '-O', '-', `http://${host}/`];
      return lab.machine(on).run('nsenter', '-t', String(pid), '-m', '-n', ...fetch);
    };
    const links = (on: number): string => readFileSync(`/proc/${containerOf(on, 'kept').pid}/net/dev`, 'utf8');
    const page = (text: string): readonly string[] => [
      'busybox',
      'sh',
      '-c',
      `mkdir /www; echo ${text} > /www/index.html; exec httpd -f -p 80 -h /www`,
    ];
    const make = (name: string, ...more: readonly string[]): void => {
      ok(
        0,
        'service',
        'create',
        '--name',
        name,
        '--init',
        '--update-monitor',
        '0s',
        '--stop-grace-period',
        '0s',
        ...more,
      );
    };
    before(async () => {
      for (const network of ['early', 'late']) ok(0, 'network', 'create', '-d', 'overlay', network);
      const places = ['--constraint', 'node.hostname!=m2', '--replicas-max-per-node', '1'];
      make('kept', '--network', 'early', '--limit-pids', '40', '--replicas', '2', ...places, ...page('kept'));
      make('peer', '--network', 'late', '--constraint', 'node.hostname==m2', ...page('peer'));
      const answers = (on: number, service: string): true | undefined =>
        ask(on, service, '127.0.0.1').code === 0 ? true : undefined;
      for (const [on, service] of [
        [0, 'kept'],
        [1, 'kept'],
        [2, 'peer'],
      ] as const)
        await eventually(() => answers(on, service), `the page of ${service}`);
    });
    after(() => {
      ok(0, 'service', 'rm', 'kept', 'peer');
    });

    it('what somebody changes of them by hand is repaired, and told at the third', () => {
      const first = containerOf(0, 'kept');
      const parents = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].map((root) => join(root, lab.machine(0).cgroupParent));
      const most = parents.map((parent) => join(parent, first.id, 'pids.max')).find((path) => existsSync(path));
      assert.ok(most);
      writeFileSync(most, '9');
      const second = ['nsenter', `--net=/proc/${containerOf(1, 'kept').pid}/ns/net`, 'ip', 'address'];
      const address = / (\S+)\/\d+ /.exec(lab.machine(1).ok(...second, 'show', 'dev', 'eth0', 'scope', 'global'))?.[1];
      lab.machine(1).ok(...second, 'flush', 'dev', 'eth0');
      const told = ok(2, 'service', 'ps', '--drift', 'kept');
      assert.match(told, /^kept\.\d +m0 +pids\.max +40 +9 +repaired/m);
      assert.match(told, new RegExp(`^kept\\.\\d +m1 +address eth0 +${address}/\\d+ +none +repaired`, 'm'));
      assert.equal(readFileSync(most, 'utf8').trim(), '40');
      assert.equal(ask(0, 'kept', 'tasks.kept').stdout, 'kept\n');
      assert.equal(ask(1, 'kept', address ?? '').stdout, 'kept\n');
    });

    it('they reach each other again when somebody removed the bridge that one of them was on', () => {
      const before = containerOf(0, 'kept');
      const other = ['nsenter', `--net=/proc/${containerOf(1, 'kept').pid}/ns/net`, 'ip', 'address'];
      const address = / (\S+)\/\d+ /.exec(lab.machine(1).ok(...other, 'show', 'dev', 'eth0', 'scope', 'global'))?.[1];
      assert.ok(address);
      const bridges = lab.machine(0).inside(['ip', '-o', 'link', 'show', 'type', 'bridge']).trim().split('\n');
      for (const line of bridges) {
        const [, name = ''] = /^\d+: ([^:@]+)/.exec(line) ?? [];
        lab.machine(0).inside(['ip', 'link', 'delete', name]);
      }
      assert.notEqual(ask(0, 'kept', address).code, 0);
      assert.match(ok(2, 'service', 'ps', '--drift', 'kept'), / m0 +interface \S+ of the node .*repaired/);
      // By its address, over the tunnel; by name; and the other way.
      assert.equal(ask(0, 'kept', address).stdout, 'kept\n');
      assert.equal(ask(0, 'kept', 'kept').stdout, 'kept\n');
      const own = ['nsenter', `--net=/proc/${before.pid}/ns/net`, 'ip', 'address', 'show', 'dev', 'eth0'];
      const [, back = ''] = / (\S+)\/\d+ /.exec(lab.machine(0).ok(...own, 'scope', 'global')) ?? [];
      assert.equal(ask(1, 'kept', back).stdout, 'kept\n');
      assert.deepEqual(containerOf(0, 'kept'), before);
    });

    it('a network that is attached leads them to others by name at once, and goes again: the processes stay', () => {
      const before = [0, 1].map((on) => containerOf(on, 'kept'));
      ok(1, 'network', 'connect', 'late', 'kept');
      for (const on of [0, 1]) assert.deepEqual(ask(on, 'kept', 'peer'), { code: 0, stdout: 'peer\n', stderr: '' });
      assert.equal(ask(2, 'peer', 'kept').stdout, 'kept\n');
      ok(2, 'network', 'disconnect', 'late', 'kept');
      for (const on of [0, 1]) {
        assert.doesNotMatch(links(on), /eth1:/);
        assert.match(ask(on, 'kept', 'peer').stderr, /bad address/);
      }
      assert.deepEqual(
        [0, 1].map((on) => containerOf(on, 'kept')),
        before,
      );
    });
  });

  it('the history outlives the manager that wrote it, and any other goes back', async () => {
    const folder = lab.machine(0).project('shop', { 'one.yaml': stack('one'), 'two.yaml': stack('two') });
    ok(0, 'stack', 'deploy', '-c', `${folder}/one.yaml`, 'shop');
    ok(0, 'stack', 'deploy', '-c', `${folder}/two.yaml`, 'shop');
    const at = leader(0) ?? assert.fail('nobody leads');
    const pid = lab.machine(at).daemonPid();
    assert.ok(pid);
    process.kill(pid, 'SIGKILL');
    const other = (at + 1) % 3;
    const history = await eventually(() => {
      const { code, stdout } = run(other, 'stack', 'history', '-q', 'shop');
      return code === 0 ? stdout : undefined;
    }, 'the history at another manager');
    assert.equal(history, '2\n1\n');
    lab.start(at);
    const isReady = (row: string): boolean => / Ready Active (Leader|Reachable)$/.test(row);
    await eventually(() => (nodes(other).every(isReady) ? true : undefined), 'all nodes');
    ok(other, 'stack', 'rollback', 'shop', '1');
    await eventually(() => {
      const said = lines(run(other, 'service', 'logs', 'shop_web').stdout);
      return said.filter((line) => line.endsWith('| one')).length === 3 ? true : undefined;
    }, 'all say one again');
    ok(at, 'stack', 'rm', 'shop');
    ok(at, 'service', 'rm', 'web');
  });
});
