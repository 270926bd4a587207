import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';
import type { Outcome } from './machine.ts';

const SERVE = 'mkdir /w; echo "$TEXT" >/w/index.html; echo serving; exec httpd -f -p 80 -h /w';

/** A stack of two services: `web` shows `text`. */
const yaml = (text: string, more = ''): string => `services:
  web:
    image: busybox
    command: sh -c 'mkdir /w; cp /conf /w/index.html; exec httpd -f -p 80 -h /w'
    init: true
    environment: {VERSION: "${text}"}
    configs: [{source: conf, target: /conf}]
    ports: ["8090:80"]
    deploy: {replicas: 2}
  db: {image: busybox, command: sleep 1000, init: true}
${more}
configs: {conf: {content: "${text}"}}
`;

describe('services and stacks', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());
  const run = (...argv: readonly string[]): Outcome => machine.run('tsswarm', ...argv);
  const ok = (...argv: readonly string[]): string => machine.ok('tsswarm', ...argv);
  const create = (name: string, ...argv: readonly string[]): string =>
    ok(
      'service',
      'create',
      '--name',
      name,
      '--init',
      '--update-monitor',
      '200ms',
      '--stop-grace-period',
      '1s',
      ...argv,
    );
  const names = (): readonly string[] => ok('service', 'ls', '--format', '{{.Name}}').split('\n').filter(Boolean);

  describe('a service of no stack', () => {
    before(() => {
      const id = create('web', '--replicas', '2', '-p', '8080:80', '-e', 'TEXT=one', 'busybox', 'sh', '-c', SERVE);
      assert.match(id, /^[0-9a-z]{25}\n$/);
    });
    after(async () => {
      assert.equal(ok('service', 'rm', 'web'), 'web\n');
      await eventually(() => (names().includes('web') ? undefined : true), 'the service to be gone');
    });
    const page = (): string | undefined => machine.fetch('http://127.0.0.1:8080/');

    it('runs when the command returns, and answers', async () => {
      assert.match(ok('service', 'ls'), /web +replicated +2\/2 +busybox +\*:8080->80\/tcp\n/);
      assert.match(ok('service', 'ps', 'web'), /web\.1 +busybox .* Running +Running/);
      assert.equal(await eventually(page, 'the page'), 'one\n');
    });

    it('is told from others by its name, which nobody else can have', () => {
      const { code, stderr } = run('service', 'create', '--name', 'web', 'busybox');
      assert.equal(code, 1);
      assert.match(stderr, /creating service "web": a service of that name exists/);
      for (const command of [['inspect'], ['ps'], ['update'], ['rollback'], ['rm']]) {
        const missing = run('service', ...command, 'nix');
        assert.equal(missing.code, 1);
        assert.match(missing.stderr, /no such service: nix/);
      }
    });

    it('is scaled, updated and rolled back', async () => {
      assert.equal(ok('service', 'scale', 'web=1'), 'web scaled to 1\n');
      assert.equal(ok('service', 'update', '--dry-run', '--replicas', '1', 'web'), 'nothing would change\n');
      assert.equal(ok('service', 'update', '--env-add', 'TEXT=two', '--label-add', 'a=b', 'web'), 'web\n');
      assert.equal(await eventually(() => (page() === 'two\n' ? 'two' : undefined), 'the new page'), 'two');
      assert.equal(ok('service', 'inspect', '--format', '{{json .Spec.Labels}}', 'web'), '{"a":"b"}\n');
      assert.equal(ok('service', 'rollback', 'web'), 'web\n');
      await eventually(() => (page() === 'one\n' ? true : undefined), 'the page of before');
      assert.match(ok('service', 'inspect', '--pretty', 'web'), /State: +rollback_completed/);
    });

    it('an update that fails ends with 1 and the reason', () => {
      const { code, stderr } = run(
        'service',
        'update',
        '--args',
        'false',
        '--update-failure-action',
        'rollback',
        'web',
      );
      assert.equal(code, 1, stderr);
      assert.match(stderr, /error: updating service "web": rolled back: container "web\.1": it ended with exit code 1/);
      assert.match(ok('service', 'ls'), /web +replicated +1\/1/);
    });

    it('shows what its tasks say', () => {
      const { stdout, stderr } = run('service', 'logs', '--tail', '1', 'web');
      assert.match(stdout + stderr, /^web\.1\.[0-9a-z]{12}@\S+ +\| serving\n/);
      assert.equal(ok('service', 'logs', '--raw', '-n', '1', 'web'), 'serving\n');
    });
  });

  it('a service whose tasks fail again and again: the command ends with 1 and says why', () => {
    const { code, stderr } = run(
      ...['service', 'create', '--name', 'bad', '--restart-delay', '100ms', 'busybox', 'sh', '-c', 'exit 3'],
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, /creating service "bad": bad\.1: it has failed \d+ times in a row: it ended with exit code 3/);
    ok('service', 'rm', 'bad');
  });

  it('a job is waited for until it has completed', () => {
    ok('service', 'create', '--name', 'job', '--mode', 'replicated-job', '--replicas', '2', 'busybox', 'true');
    assert.match(ok('service', 'ls'), /job +replicated job +0\/0 \(2\/2 completed\)/);
    ok('service', 'rm', 'job');
  });

  it('a flag that cannot be honoured is refused before anything is made', () => {
    const { code, stderr } = run('service', 'create', '--name', 'x', '--with-registry-auth', 'busybox');
    assert.equal(code, 1);
    assert.match(stderr, /using --with-registry-auth: logins at registries are not supported yet/);
    assert.ok(!names().includes('x'));
  });

  it('a service gets a secret and a config that were made by hand', async () => {
    const made = machine.runWith({ input: 'geheim' }, 'tsswarm', 'secret', 'create', '-l', 'a=b', 'key');
    assert.match(made.stdout, /^[0-9a-z]{25}\n$/, made.stderr);
    const file = `${machine.project('files', { conf: 'setting' })}/conf`;
    ok('config', 'create', 'conf', file);
    assert.match(ok('secret', 'ls'), /^ID +NAME +STACK +CREATED +UPDATED\n[0-9a-z]{25} +key /);
    assert.ok(!ok('secret', 'inspect', 'key').includes(Buffer.from('geheim').toString('base64')));
    const words = ['busybox', 'sh', '-c', 'cat /run/secrets/key /conf; echo; exec sleep 1000'];
    create('reader', '--secret', 'key', '--config', 'conf', ...words);
    const said = (): true | undefined =>
      ok('service', 'logs', '--raw', 'reader') === 'geheimsetting\n' ? true : undefined;
    await eventually(said, 'what is in the files');
    const refused = run('secret', 'rm', 'key');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /secret 'key' is in use by the following service: reader/);
    ok('service', 'update', '--secret-rm', 'key', '--config-rm', 'conf', '--args', 'sleep 1000', 'reader');
    assert.equal(ok('secret', 'rm', 'key'), 'key\n');
    assert.equal(ok('config', 'rm', 'conf'), 'conf\n');
    ok('service', 'rm', 'reader');
  });

  it('a stack is deployed, compared, changed, rolled back and removed; tscompose shows the same', async () => {
    const folder = machine.project('shop', { 'a.yaml': yaml('one'), 'b.yaml': yaml('two').replace('  db:', '  api:') });
    const [a, b] = [`${folder}/a.yaml`, `${folder}/b.yaml`];
    const page = (): string | undefined => machine.fetch('http://127.0.0.1:8090/');
    ok('stack', 'deploy', '-c', a, 'shop');
    assert.match(ok('stack', 'ls'), /^NAME +SERVICES\nshop +2\n$/);
    assert.match(ok('stack', 'services', 'shop'), /shop_web +replicated +2\/2/);
    assert.match(ok('stack', 'ps', 'shop'), /shop_web\.2 +busybox/);
    assert.match(machine.ok('tscompose', '-p', 'shop', 'ps'), /shop-web-2 +busybox/);
    assert.equal(ok('stack', 'diff', '-c', a, 'shop', '--exit-code'), '');

    const diff = run('stack', 'diff', '-c', b, '--prune', '--exit-code', 'shop');
    assert.equal(diff.code, 1);
    assert.match(diff.stdout, /~ service web \(its containers are replaced\)\n {4}environment:\n {6}- VERSION=one\n/);
    assert.match(diff.stdout, /\+ service api\n/);
    assert.match(diff.stdout, /- service db\n/);
    ok('stack', 'deploy', '--prune', '-c', b, 'shop');
    await eventually(() => (page() === 'two' ? true : undefined), 'the new page');

    const history = ok('stack', 'history', '--no-trunc', 'shop').split('\n');
    assert.match(history[1] ?? '', /^2 .* tsswarm stack deploy .*web: environment.*; -db$/);
    assert.match(ok('stack', 'rollback', '--dry-run', 'shop'), /\+ service db/);
    ok('stack', 'rollback', 'shop', '1');
    await eventually(() => (page() === 'one' ? true : undefined), 'the page of before');
    assert.match(ok('stack', 'services', 'shop'), /shop_db .*\n.*shop_web/);
    const { code, stderr } = run('stack', 'rollback', 'shop', '9');
    assert.equal(code, 1);
    assert.match(stderr, /rolling back "shop" to revision 9: it is not kept, those that are: 1, 2, 3/);

    ok('stack', 'rm', 'shop');
    assert.equal(ok('stack', 'ls'), 'NAME      SERVICES\n');
    assert.equal(run('stack', 'ps', 'shop').code, 1);
    assert.match(run('stack', 'rm', 'shop').stderr, /Nothing found in stack: shop/);
  });

  it('a project of tscompose is a stack', () => {
    const folder = machine.project('both', { 'compose.yaml': yaml('x').replace('8090', '8091') });
    machine.composeOk(folder, 'up', '-d');
    assert.match(ok('stack', 'services', 'both'), /both_web/);
    ok('service', 'scale', 'both_web=1');
    assert.match(machine.composeOk(folder, 'history'), /2 .* tsswarm service scale +web: replicas 2 → 1/);
    assert.match(machine.composeOk(folder, 'diff'), /replicas: 1 → 2/);
    machine.composeOk(folder, 'rollback');
    assert.match(ok('service', 'ls', '-f', 'name=both_web'), /2\/2/);
    ok('update', '--revision-limit', '2');
    assert.match(ok('status'), /revisions 2,/);
    ok('service', 'scale', 'both_web=1');
    assert.equal(machine.composeOk(folder, 'history', '-q'), '4\n3\n');
    machine.composeOk(folder, 'down', '-t', '0');
  });

  it('a project with a bind mount is the same project after the daemon was started again', async () => {
    const text = 'services: {web: {image: busybox, command: sleep 1000, init: true, volumes: ["./:/here:ro"]}}\n';
    const folder = machine.project('bound', { 'compose.yaml': text });
    machine.composeOk(folder, 'up', '-d');
    const before = machine.composeOk(folder, 'ps', '-q');
    const pid = machine.daemonPid();
    assert.ok(pid);
    process.kill(pid, 'SIGTERM');
    await eventually(() => (machine.daemonPid() === pid ? undefined : true), 'the daemon to end');
    ok('init', '--no-systemd');
    assert.equal(machine.composeOk(folder, 'diff'), '');
    machine.composeOk(folder, 'up', '-d');
    assert.equal(machine.composeOk(folder, 'ps', '-q'), before);
    machine.composeOk(folder, 'down', '-t', '0');
  });
});
