import assert from 'node:assert/strict';
import type { PublishedPort, Task } from '../../../proto/types/index.ts';
import { T0, service, task } from '../../../test/builders/objects.ts';
import { taskSpec } from '../../../test/builders/specs.ts';
import { containersOf, renderContainers } from '../commands/ps.ts';
import { describeState, portsOf, stateWord } from './describe.ts';
import { environmentWords } from './environment.ts';
import { parseMount, parsePort, runSpec } from './run-spec.ts';

const web = service('web');
const now = T0 + 300_000;

describe('a container, as ps tells of it', () => {
  const restarting = service(
    'web',
    {},
    {
      task: taskSpec({ restart: { condition: 'any', delayMs: 100, maxDelayMs: 1000, maxAttempts: 0, windowMs: 0 } }),
    },
  );
  const rows: readonly (readonly [Task, string, string])[] = [
    [task(web, 1), 'running', 'Up 5 minutes'],
    [task(web, 1, { health: 'healthy' }), 'running', 'Up 5 minutes (healthy)'],
    [task(web, 1, { health: 'starting' }), 'running', 'Up 5 minutes (health: starting)'],
    [task(web, 1, { state: 'complete', exitCode: 0 }), 'exited', 'Exited (0) 5 minutes ago'],
    [
      task(web, 1, { state: 'failed', exitCode: 1, error: 'task: non-zero exit' }),
      'exited',
      'Exited (1) 5 minutes ago',
    ],
    [
      task(web, 1, { state: 'failed', exitCode: 137, error: 'killed: out of memory' }),
      'exited',
      'Exited (137) 5 minutes ago: killed: out of memory',
    ],
    [task(web, 1, { state: 'rejected', error: 'no such image' }), 'dead', 'Not started: no such image'],
    [task(web, 1, { state: 'pending', message: 'allocated' }), 'created', 'Created'],
    [task(web, 1, { state: 'pending', message: 'no node fits' }), 'created', 'Created (no node fits)'],
    [task(web, 1, { state: 'new', message: 'waiting for db' }, { held: true }), 'created', 'Created (waiting for db)'],
    [
      task(restarting, 1, { state: 'assigned' }, { attempt: 1, notBefore: now + 1500 }),
      'restarting',
      'Restarting in 2 s',
    ],
  ];
  for (const [one, state, status] of rows) {
    it(status, () => {
      assert.equal(stateWord(one), state);
      assert.equal(describeState(one, now), status);
    });
  }

  it('ports as docker ps prints them, only while it runs', () => {
    const port: PublishedPort = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' };
    const published = service('web', { ports: [port, { ...port, published: 8443, hostIp: '127.0.0.1' }] });
    assert.equal(portsOf(published, task(published, 1)), '0.0.0.0:8080->80/tcp, 127.0.0.1:8443->80/tcp');
    assert.equal(portsOf(published, task(published, 1, { state: 'complete' })), '');
    assert.equal(portsOf(published, task(published, 0, {}, { oneOff: true })), '');
  });

  it('the table has one row for each slot: its newest task; names in human order', () => {
    const two = service('web', {}, { replicas: 10 });
    const old = task(two, 2, { state: 'failed' }, { id: 'old' as Task['id'] });
    const containers = containersOf([two], [task(two, 10), old, task(two, 2)]);
    assert.deepEqual(
      containers.map((one) => one.task.id),
      ['app-web-2-a', 'app-web-10-a'],
    );
    assert.match(
      renderContainers(containers, now, true),
      /^NAME +IMAGE +COMMAND +SERVICE +CREATED +STATUS +PORTS\napp-web-2 +busybox .*web +5 minutes ago +Up 5 minutes\n/,
    );
  });
});

describe('what run changes of a service', () => {
  const none = {
    argv: [],
    env: [],
    user: undefined,
    workingDir: undefined,
    volumes: [],
    labels: [],
    tty: false,
    openStdin: false,
  };
  const base = taskSpec({ networks: [{ network: 'app_default', aliases: ['web'], ipv4Address: '10.0.0.9' }] });
  const spec = {
    ...base,
    container: {
      ...base.container,
      command: { args: ['serve'] },
      entrypoint: { args: ['/start'] },
      env: ['A=1', 'B=2'],
      user: 'www',
    },
  };

  it('nothing but the restarts, the aliases and a fixed address when nothing is asked', () => {
    const { container, restart, networks } = runSpec(spec, none, '/');
    assert.deepEqual(container.command, { args: ['serve'] });
    assert.deepEqual(container.entrypoint, { args: ['/start'] });
    assert.equal(restart.condition, 'none');
    assert.deepEqual(networks, [{ network: 'app_default', aliases: [], ipv4Address: '' }]);
  });
  it('the command; an entrypoint takes the command with it', () => {
    assert.deepEqual(runSpec(spec, { ...none, argv: ['sh', '-c', 'x'] }, '/').container.command, {
      args: ['sh', '-c', 'x'],
    });
    const { container } = runSpec(spec, { ...none, entrypoint: ['/bin/sh'] }, '/');
    assert.deepEqual([container.entrypoint, container.command], [{ args: ['/bin/sh'] }, undefined]);
  });
  it('variables over those of the service, user and directory', () => {
    const { container } = runSpec(spec, { ...none, env: ['B=3'], user: '0', workingDir: '/tmp' }, '/');
    assert.deepEqual(container.env, ['A=1', 'B=3']);
    assert.deepEqual([container.user, container.workingDir], ['0', '/tmp']);
  });
  it('mounts in the place of those with the same target', () => {
    const [mount] = runSpec(spec, { ...none, volumes: ['./data:/data:ro'] }, '/home/me').container.mounts;
    assert.deepEqual(
      [mount?.type, mount?.type === 'bind' && mount.source, mount?.target, mount?.readOnly],
      ['bind', '/home/me/data', '/data', true],
    );
  });

  describe('arguments', () => {
    it('-v names a path, a volume, or only a target', () => {
      assert.equal(parseMount('/a:/b', '/').type, 'bind');
      assert.deepEqual([parseMount('data:/b', '/').type, parseMount('/b', '/').type], ['volume', 'volume']);
    });
    for (const bad of ['a:b', '/a:/b:ro:z', '/a:/b:shared']) {
      it(`-v ${bad} is refused`, () => assert.throws(() => parseMount(bad, '/'), /-v/));
    }
    for (const [text, target, published, hostIp, protocol] of [
      ['80', 80, 0, '', 'tcp'],
      ['8080:80', 80, 8080, '', 'tcp'],
      ['127.0.0.1:8080:80/udp', 80, 8080, '127.0.0.1', 'udp'],
      ['127.0.0.1::80', 80, 0, '127.0.0.1', 'tcp'],
      ['[::1]:8080:80', 80, 8080, '::1', 'tcp'],
    ] as const) {
      it(`-p ${text}`, () => {
        assert.deepEqual(parsePort(text), { target, published, hostIp, protocol, mode: 'host' });
      });
    }
    it('-p 8080-8090:80, of which one is chosen', () => {
      const { published, publishedEnd, target } = parsePort('8080-8090:80');
      assert.deepEqual([published, publishedEnd, target], [8080, 8090, 80]);
    });
    for (const bad of ['', 'x', '80:', '0', '70000', '8080:80/xyz', '8090-8080:80', '8080-:80']) {
      it(`-p "${bad}" is refused`, () => assert.throws(() => parsePort(bad), /-p/));
    }
    it('-e takes a value from outside when it names none', () => {
      assert.deepEqual(environmentWords(['A=1', 'B', 'C', 'D='], { B: 'b' }), ['A=1', 'B=b', 'D=']);
      assert.throws(() => environmentWords(['=x'], {}), /-e "=x"/);
    });
  });
});
