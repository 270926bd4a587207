import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

/** Each container on a machine of its own, each starting and ending when the test says so. */
const SHOP = (version: string): string => `services:
  db:
    image: busybox
    init: true
    command: sleep 1000
    environment: { VERSION: "${version}" }
    stop_grace_period: 5s
    healthcheck: { test: [CMD, test, -e, /tmp/ready], interval: 100ms, timeout: 5s, retries: 1000 }
    deploy: { placement: { constraints: [node.hostname == m0] } }
  migrate:
    image: busybox
    command: sh -c 'exit 0'
    depends_on: { db: { condition: service_healthy } }
    deploy: { placement: { constraints: [node.hostname == m1] } }
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 5s
    depends_on:
      db: { condition: service_healthy, restart: true }
      migrate: { condition: service_completed_successfully }
    deploy: { placement: { constraints: [node.hostname == m2] } }
`;

describe('dependencies across machines', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsdep', 3);
    lab.form(1);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());
  const { tasks } = viewsOf(() => lab);
  /** Its line in the list of tasks, from the desired state on. */
  const state = (name: string): string => {
    const lines = lab.machine(0).ok('tsswarm', 'ps').split('\n');
    return lines.find((line) => line.includes(` shop-${name}-1 `))?.replace(/^.*? running +/, '') ?? 'none';
  };
  const write = (version: string): string => lab.machine(0).project('shop', { 'compose.yaml': SHOP(version) });
  const ready = (): void => {
    lab.machine(0).composeOk(write('1'), 'exec', '-T', 'db', 'touch', '/tmp/ready');
  };

  it('are waited for: healthy here, completed there, started elsewhere', async () => {
    const folder = write('1');
    const up = lab.machine(0).start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    let said = '';
    up.stderr.on('data', (data: Buffer) => (said += data.toString()));
    const ended = new Promise<number | null>((resolve) => up.once('exit', resolve));
    await eventually(() => (state('db').startsWith('running') ? true : undefined), 'the database');
    assert.match(state('migrate'), /^waiting for db to be healthy/);
    assert.match(state('web'), /^waiting for db to be healthy/);
    ready();
    assert.equal(await ended, 0, said);
    assert.match(state('web'), /^running/);
    assert.deepEqual(
      tasks(0).map(({ name, node }) => `${name} ${node}`).sort(),
      ['shop-db-1 m0', 'shop-web-1 m2'],
    ); // prettier-ignore
  });

  it('that are replaced are followed, when they are healthy again', async () => {
    const folder = write('2');
    const startedAt = (): string =>
      lab.machine(2).ok('sh', '-c', `cat ${lab.machine(2).stateDir}/engine/containers/*/status.json | tr ',' '\\n' | grep startedAt`); // prettier-ignore
    const before = startedAt();
    const up = lab.machine(0).start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    const ended = new Promise<number | null>((resolve) => up.once('exit', resolve));
    const replaced = (): true | undefined =>
      lab.machine(0).compose(folder, 'exec', '-T', 'db', 'sh', '-c', 'test $VERSION = 2').code === 0 ? true : undefined;
    await eventually(replaced, 'the new database');
    assert.equal(startedAt(), before, 'the web service runs on meanwhile');
    lab.machine(0).composeOk(folder, 'exec', '-T', 'db', 'touch', '/tmp/ready');
    assert.equal(await ended, 0);
    await eventually(() => (startedAt() === before ? undefined : true), 'the web service restarted');
  });

  it('go down last, whatever machine they are on', () => {
    const folder = write('2');
    lab.machine(0).composeOk(folder, 'down');
    const ends = [0, 2].map((index) => {
      const log = lab.machine(index).ok('cat', `${lab.machine(index).stateDir}/tsswarmd.log`);
      const lines = log.split('\n').filter((line) => line.includes('"container exited"'));
      return Date.parse((JSON.parse(lines.at(-1) ?? '{}') as { time: string }).time);
    });
    assert.ok((ends[1] ?? 0) <= (ends[0] ?? 0), `web ended at ${String(ends[1])}, its database at ${String(ends[0])}`);
    assert.deepEqual(tasks(0), []);
  });

  it('that fail are named by who needs them, with the reason', async () => {
    const folder = lab.machine(0).project('broken', {
      'compose.yaml': `services:
  migrate:
    image: busybox
    command: sh -c 'exit 3'
    deploy: { placement: { constraints: [node.hostname == m1] } }
  web:
    image: busybox
    command: sleep 1000
    depends_on: { migrate: { condition: service_completed_successfully } }
    deploy: { placement: { constraints: [node.hostname == m2] } }
  other:
    image: busybox
    init: true
    command: sleep 1000
    depends_on: { migrate: { condition: service_completed_successfully, required: false } }
`,
    });
    const { code, stderr } = lab.machine(0).compose(folder, 'up', '-d');
    assert.equal(code, 1, stderr);
    assert.match(stderr, /error: .*web.*service "migrate" didn't complete successfully: exit 3/);
    const ps = lab.machine(0).composeOk(folder, 'ps', '-a');
    assert.match(ps, /broken-web-1 .*Not started: service "migrate" didn't complete successfully: exit 3/);
    // The command ended with the failure; what can do without is on its way.
    const isUp = (): true | undefined =>
      /broken-other-1 .*Up /.test(lab.machine(0).composeOk(folder, 'ps', '-a')) || undefined;
    await eventually(isUp, 'the container that can do without');
    lab.machine(0).composeOk(folder, 'down', '-t', '0');
  });
});
