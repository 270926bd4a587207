import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';
import type { Outcome } from './machine.ts';

/** A project on the network "lan" of nobody. */
const PROJECT = `services:
  web:
    image: busybox
    command: sleep 1000
    init: true
    stop_grace_period: 1s
    networks: {lan: {aliases: [shop]}}
networks: {lan: {external: true}}
`;

describe('networks of no project', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());
  const run = (...argv: readonly string[]): Outcome => machine.run('tsswarm', 'network', ...argv);
  const ok = (...argv: readonly string[]): string => machine.ok('tsswarm', 'network', ...argv);
  const names = (): string => ok('ls', '--format', '{{.Name}}').trim().replaceAll('\n', ' ');

  it('are made, listed, shown and removed', () => {
    assert.match(ok('create', '--subnet', '10.77.0.0/24', '--label', 'a=b', 'one'), /^[0-9a-z]{25}\n$/);
    ok('create', '--internal', 'two');
    assert.match(ok('ls'), /^NETWORK ID +NAME +DRIVER +SCOPE\n[0-9a-z]{12} +one +\S+ +\S+\n[0-9a-z]{12} +two /);
    assert.equal(
      ok('inspect', '--format', '{{.Name}} {{.Internal}} {{json .Labels}}', 'one', 'two'),
      'one false {"a":"b"}\ntwo true {}\n',
    );
    const half = run('inspect', '--format', '{{.Name}}', 'one', 'nix');
    assert.deepEqual([half.code, half.stdout], [1, 'one\n']);
    assert.match(half.stderr, /network nix not found/);
    assert.equal(ok('rm', 'one', 'two'), 'one\ntwo\n');
    assert.equal(names(), '');
    assert.equal(run('rm', 'one').code, 1);
    assert.equal(ok('rm', '--force', 'one'), 'one\n');
  });

  it('are joined by projects, which name them as users', async () => {
    ok('create', 'lan');
    const [one, other] = ['one', 'other'].map((name) => machine.project(name, { 'compose.yaml': PROJECT }));
    machine.composeOk(one ?? '', 'up', '-d');
    machine.composeOk(other ?? '', 'up', '-d');
    // Two projects that share a network reach each other.
    await eventually(
      () =>
        machine.compose(one ?? '', 'exec', 'web', 'ping', '-c1', '-W1', 'other-web-1').code === 0 ? true : undefined,
      'one project to reach the other',
    );
    const { code, stderr } = run('rm', 'lan');
    assert.equal(code, 1);
    assert.match(stderr, /removing network "lan": it is used by service "one_web", service "other_web"/);
    assert.match(stderr, /hint: /);
    const [shown] = JSON.parse(ok('inspect', '--verbose', 'lan')) as [
      {
        Containers: Record<string, { Name: string }>;
        Peers: unknown[];
        Services: Record<string, { Tasks: unknown[] }>;
      },
    ];
    assert.deepEqual(
      Object.values(shown.Containers).map(({ Name }) => Name),
      ['one-web-1', 'other-web-1'],
    );
    assert.equal(shown.Peers.length, 1);
    assert.equal(shown.Services['one_web']?.Tasks.length, 1);
    machine.composeOk(one ?? '', 'down');
    machine.composeOk(other ?? '', 'down');
    assert.equal(names(), 'lan');
  });

  it('are pruned when nobody uses them', async () => {
    ok('create', '--label', 'keep', 'kept');
    assert.equal(machine.runWith({ input: 'n\n' }, 'tsswarm', 'network', 'prune').stdout, '');
    assert.equal(ok('prune', '--force', '--filter', 'label!=keep'), 'Deleted Networks:\nlan\n\n');
    await eventually(() => (names() === 'kept' ? true : undefined), 'the network to be gone');
    assert.equal(
      machine.runWith({ input: 'y\n' }, 'tsswarm', 'network', 'prune').stdout,
      'Deleted Networks:\nkept\n\n',
    );
    assert.equal(names(), '');
  });

  it('refuse what there is not', () => {
    const { code, stderr } = run('create', '--ingress', 'x');
    assert.equal(code, 1);
    assert.match(stderr, /using --ingress: published ports need no network of their own/);
    assert.match(run('create', '-d', 'weave', 'x').stderr, /the driver "weave" is not supported/);
    assert.match(run('create', '--ipv4=false', 'x').stderr, /every network has IPv4/);
  });
});
