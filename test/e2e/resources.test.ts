import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

const WEB = (replicas: number): string => `services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    deploy:
      replicas: ${replicas}
      resources:
        reservations:
          devices: [{ capabilities: [gpu], count: 1 }]
          generic_resources: [{ discrete_resource_spec: { kind: ssd, value: 2 } }]
`;

describe('generic resources', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.bare(`tsres${process.pid}`);
    const resources = ['--generic-resource', 'gpu=/dev/fuse,/dev/hwrng', '--generic-resource', 'ssd=5'];
    machine.ok('tsswarm', 'init', '--no-systemd', ...resources);
    machine.load(['busybox']);
  });
  after(() => machine.dispose());
  const inside = (folder: string, index: number, script: string): string =>
    machine.composeOk(folder, 'exec', '-T', '--index', String(index), 'web', 'sh', '-c', script).trim();

  it('are announced, also by a node that is started again without the flags', () => {
    const look = (): string => machine.ok('tsswarm', 'node', 'inspect', 'self', '--format', '{{json .Description.Resources.GenericResources}}'); // prettier-ignore
    const expected = [
      { NamedResourceSpec: { Kind: 'gpu', Value: '/dev/fuse' } },
      { NamedResourceSpec: { Kind: 'gpu', Value: '/dev/hwrng' } },
      { DiscreteResourceSpec: { Kind: 'ssd', Value: 5 } },
    ];
    assert.deepEqual(JSON.parse(look()), expected);
    const pid = machine.daemonPid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    machine.ok('tsswarm', 'init', '--no-systemd');
    assert.deepEqual(JSON.parse(look()), expected);
  });

  it('are given to containers, each its own, and said in their environment', async () => {
    const folder = machine.project('web', { 'compose.yaml': WEB(2) });
    machine.composeOk(folder, 'up', '-d');
    const seen = [1, 2].map((index) => inside(folder, index, 'echo $DOCKER_RESOURCE_GPU $DOCKER_RESOURCE_SSD'));
    assert.deepEqual(seen.toSorted(), ['/dev/fuse 2', '/dev/hwrng 2']);
    const script = 'for d in /dev/fuse /dev/hwrng; do if [ -c $d ]; then echo $d; fi; done';
    assert.deepEqual([1, 2].map((index) => `${inside(folder, index, script)} 2`), seen); // prettier-ignore
    machine.project('web', { 'compose.yaml': WEB(3) });
    const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    const ended = new Promise((resolve) => up.once('exit', resolve));
    await eventually(
      () =>
        machine.composeOk(folder, 'ps', '-a').includes('no suitable node: 1 of 1 lacks 2 ssd') ||
        machine.composeOk(folder, 'ps', '-a').includes('no suitable node: 1 of 1 lacks 1 gpu')
          ? true
          : undefined,
      'the reason',
    );
    machine.project('web', { 'compose.yaml': WEB(2) });
    machine.composeOk(folder, 'up', '-d');
    up.kill('SIGINT');
    await ended;
    machine.composeOk(folder, 'down');
  });

  it('that cannot be read are refused', () => {
    for (const [text, reason] of [
      ['gpu', /expected <kind>=<number> or <kind>=<name>/],
      ['gpu=0', /expected 1 or more/],
    ] as const) {
      const { code, stderr } = machine.run('tsswarm', 'init', '--no-systemd', '--generic-resource', text);
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`using --generic-resource "${text}": ${reason.source}`));
    }
  });
});
