import assert from 'node:assert/strict';
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
