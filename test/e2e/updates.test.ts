import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

/** A service whose containers serve, or end with `exit`. */
const yaml = (version: string, update: string, exit?: number): string => `services:
  web:
    image: busybox
    init: true
    command: sh -c "${exit === undefined ? 'exec sleep 1000' : `sleep 0.3; exit ${exit}`}"
    environment: {VERSION: "${version}"}
    restart: always
    deploy:
      replicas: 3
      update_config: {monitor: 1s, ${update}}
`;

describe('updates', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());
  const ids = (folder: string): readonly string[] => machine.composeOk(folder, 'ps', '-q').trim().split('\n').sort();
  const write = (name: string, text: string): string => machine.project(name, { 'compose.yaml': text });
  const version = (folder: string, index: number): string =>
    machine.composeOk(folder, 'exec', '-T', '--index', String(index), 'web', 'sh', '-c', 'echo $VERSION').trim();

  it('is followed to its end: every container is of the new version', () => {
    const folder = write('good', yaml('1', 'parallelism: 2'));
    machine.composeOk(folder, 'up', '-d');
    write('good', yaml('2', 'parallelism: 2'));
    const { code, stderr } = machine.compose(folder, 'up', '-d');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Service web {2}Updated/);
    assert.deepEqual(
      [1, 2, 3].map((index) => version(folder, index)),
      ['2', '2', '2'],
    );
    machine.composeOk(folder, 'down', '-t', '0');
  });

  it('that fails is rolled back: exit code 1, the reason, and the containers that were not reached are the same', () => {
    const folder = write('back', yaml('1', 'delay: 3s, failure_action: rollback'));
    machine.composeOk(folder, 'up', '-d');
    const before = ids(folder);
    write('back', yaml('2', 'delay: 3s, failure_action: rollback', 7));
    const { code, stderr } = machine.compose(folder, 'up', '-d');
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /error: updating service "web": rolled back: container "back-web-1": it ended with exit code 7/,
    );
    assert.deepEqual(
      [1, 2, 3].map((index) => version(folder, index)),
      ['1', '1', '1'],
    );
    assert.equal(ids(folder).filter((id) => before.includes(id)).length, 2);
    machine.composeOk(folder, 'down', '-t', '0');
  });

  it('that fails is paused: exit code 1, the other containers untouched; a mended file goes on', () => {
    const folder = write('pause', yaml('1', 'delay: 2s, failure_action: pause'));
    machine.composeOk(folder, 'up', '-d');
    const before = ids(folder);
    write('pause', yaml('2', 'delay: 2s, failure_action: pause', 7));
    const { code, stderr } = machine.compose(folder, 'up', '-d');
    assert.equal(code, 1, stderr);
    assert.match(stderr, /error: updating service "web": paused: container "pause-web-1": it ended with exit code 7/);
    assert.equal(ids(folder).filter((id) => before.includes(id)).length, 2);
    write('pause', yaml('3', 'delay: 2s, failure_action: pause'));
    machine.composeOk(folder, 'up', '-d');
    assert.deepEqual(
      [1, 2, 3].map((index) => version(folder, index)),
      ['3', '3', '3'],
    );
    machine.composeOk(folder, 'down', '-t', '0');
  });

  it('goes on when the command that began it is interrupted', async () => {
    const folder = write('onward', yaml('1', 'delay: 2s'));
    machine.composeOk(folder, 'up', '-d');
    write('onward', yaml('2', 'delay: 2s'));
    const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    let output = '';
    up.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const ended = new Promise<number | null>((resolve) => up.once('exit', (code) => resolve(code)));
    await eventually(() => (output.includes('onward-web-1  Started') ? true : undefined), 'the first container');
    up.kill('SIGINT');
    assert.equal(await ended, 130, output);
    // Between the old and the new container there is none for a moment.
    const last = (): string =>
      machine.compose(folder, 'exec', '-T', '--index', '3', 'web', 'sh', '-c', 'echo $VERSION').stdout.trim();
    await eventually(() => (last() === '2' ? true : undefined), 'the last container');
    machine.composeOk(folder, 'down', '-t', '0');
  });

  it('of a global service and of jobs: one container on the one node, jobs once', () => {
    const text =
      'services:\n' +
      '  agent: {image: busybox, init: true, command: sleep 1000, deploy: {mode: global}}\n' +
      '  job: {image: busybox, command: echo done, deploy: {mode: replicated-job, replicas: 2}}\n';
    const folder = write('modes', text);
    machine.composeOk(folder, 'up', '-d');
    const all = (): string => machine.composeOk(folder, 'ps', '-a', '-q');
    assert.match(machine.composeOk(folder, 'ps', '-a'), /modes-agent-1 .*\n(.*\n)*.*modes-job-2 /);
    const before = all();
    machine.composeOk(folder, 'up', '-d');
    assert.equal(all(), before);
    const { code, stderr } = machine.compose(folder, 'up', '-d', '--scale', 'agent=2');
    assert.equal(code, 1);
    assert.match(stderr, /scaling service "agent": it is global: one container on each node/);
    machine.composeOk(folder, 'down', '-t', '0');
  });
});
