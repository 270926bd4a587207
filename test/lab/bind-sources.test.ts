import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

describe('paths of nodes, of which one has a disk of its own', function () {
  let lab: Lab;
  /** Where the second worker has its disk; on the others it is an empty folder. */
  let disk = '';
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsbind', 3);
    disk = join(lab.machine(0).dir, 'disk');
    mkdirSync(disk);
    lab.form(1, 2);
    const token = lab.machine(0).ok('tsswarm', 'join-token', '-q', 'worker').trim();
    // A mount namespace of its own: the others do not see what is mounted there.
    const script = `mount -t tmpfs disk ${disk} && mkdir ${disk}/site && echo hello > ${disk}/site/page && exec "$@"`;
    const join2 = ['tsswarm', 'join', '--token', token, '--no-systemd', '--node-name', 'm2'];
    const at = ['--advertise-addr', lab.address(2), lab.address(0)];
    lab.machine(2).ok('unshare', '-m', '--propagation', 'slave', 'sh', '-c', script, 'sh', ...join2, ...at);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const { running } = viewsOf(() => lab);
  const service = (mounts: string, more = ''): string =>
    `    image: busybox\n    command: [sleep, infinity]\n    stop_grace_period: 100ms\n    volumes: [${mounts}]\n${more}`;
  const up = (name: string, text: string, ...flags: readonly string[]) => {
    const folder = lab.machine(0).project(name, { 'compose.yaml': `services:\n${text}` });
    return { folder, outcome: lab.machine(0).compose(folder, 'up', '-d', ...flags) };
  };
  const down = (folder: string): string => lab.machine(0).composeOk(folder, 'down', '-v');

  it('take containers to the node that has them, whoever is asked and however many they are', () => {
    const { folder, outcome } = up('one', `  web:\n${service(`"${disk}/site:/site"`)}    scale: 3\n`, '--wait');
    assert.equal(outcome.code, 0, outcome.stderr);
    assert.deepEqual(running(0), ['m2', 'm2', 'm2']);
    assert.equal(lab.machine(0).composeOk(folder, 'exec', 'web', 'cat', '/site/page'), 'hello\n');
    down(folder);
  });

  it('say why nobody else takes them, and are taken by who has them later', async () => {
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'drain', 'm2');
    const mount = ['--mount', `type=bind,source=${disk}/site,target=/site,readonly`];
    lab
      .machine(0)
      .ok(
        'tsswarm',
        'service',
        'create',
        '-d',
        '--name',
        'two',
        '--stop-grace-period',
        '100ms',
        ...mount,
        'busybox',
        'sleep',
        'infinity',
      );
    const why = (): string => lab.machine(0).ok('tsswarm', 'service', 'ps', '--no-trunc', 'two');
    await eventually(
      () => (why().includes(`no suitable node: 2 of 3 do not have "${disk}/site", 1 is drained`) ? true : undefined),
      'the reason',
    );
    // The folder of the other two is one.
    mkdirSync(join(disk, 'site'));
    await eventually(() => (running(0).length === 1 ? true : undefined), 'a container where the folder was made');
    assert.notDeepEqual(running(0), ['m2']);
    lab.machine(0).ok('tsswarm', 'service', 'rm', 'two');
    await eventually(() => (lab.machine(0).ok('tsswarm', 'ps', '-q') === '' ? true : undefined), 'nothing left');
    rmSync(join(disk, 'site'), { recursive: true });
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'active', 'm2');
  });

  it('that are made for a container stay its home', async () => {
    // Nobody has it: the disk is the only place where it is not everybody's.
    const text = `  web:\n${service(`"${disk}/made:/data"`, '    deploy: { placement: { constraints: ["node.hostname==m2"] } }\n')}`;
    const first = up('three', text, '--wait');
    assert.equal(first.outcome.code, 0, first.outcome.stderr);
    lab.machine(0).composeOk(first.folder, 'exec', 'web', 'sh', '-c', 'echo kept > /data/file');
    down(first.folder);
    const again = up('three', `  web:\n${service(`"${disk}/made:/data"`)}`, '--wait');
    assert.equal(again.outcome.code, 0, again.outcome.stderr);
    assert.deepEqual(running(0), ['m2']);
    assert.equal(lab.machine(0).composeOk(again.folder, 'exec', 'web', 'cat', '/data/file'), 'kept\n');
    down(again.folder);
  });

  it('take those along whose network a container shares', () => {
    const vpn = service('', '');
    const text = `  vpn:\n${vpn}  web:\n${service(`"${disk}/site:/site"`, '    network_mode: "service:vpn"\n')}`;
    for (let round = 0; round < 3; round++) {
      const { folder, outcome } = up('four', text, '--wait');
      assert.equal(outcome.code, 0, outcome.stderr);
      assert.deepEqual(running(0), ['m2', 'm2']);
      down(folder);
    }
  });

  it('are found for a running container that gets one more, which goes there', () => {
    const plain = `  web:\n${service('', '    deploy: { placement: { constraints: ["node.hostname!=m0"] } }\n')}`;
    const { folder, outcome } = up('five', plain, '--wait');
    assert.equal(outcome.code, 0, outcome.stderr);
    const more = plain.replace('volumes: []', `volumes: ["${disk}/site:/site:ro"]`);
    const changed = up('five', more, '--wait');
    assert.equal(changed.outcome.code, 0, changed.outcome.stderr);
    assert.deepEqual(running(0), ['m2']);
    assert.equal(lab.machine(0).composeOk(folder, 'exec', 'web', 'cat', '/site/page'), 'hello\n');
    down(folder);
  });
});
