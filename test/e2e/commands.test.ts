import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

const YAML = `services:
  web:
    image: busybox
    command: sh -c "echo started; echo problem >&2; mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"
    init: true
    ports: ["8080:80", "8081-8085:80", {target: 80, published: "8081-8085", mode: host}]
    environment: {COLOUR: blue}
    volumes: ["data:/data"]
    restart: always
  worker:
    image: busybox
    command: sleep 1000
    init: true
    depends_on: [web]
    deploy: {replicas: 2}
volumes: {data: }
`;

describe('the commands of tscompose', function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('shop', { 'compose.yaml': YAML });
    machine.composeOk(folder, 'up', '-d');
  });
  after(() => machine.dispose());
  const exec = (...argv: readonly string[]): string => machine.composeOk(folder, 'exec', '-T', 'web', ...argv);

  it('publishes ports that it chose out of ranges, one for all nodes and one for that of the container, and tells them', () => {
    assert.equal(machine.composeOk(folder, 'port', 'web', '80'), '0.0.0.0:8080\n0.0.0.0:8081\n0.0.0.0:8082\n');
    for (const port of [8081, 8082]) assert.equal(machine.fetch(`http://127.0.0.1:${port}/`), 'hello\n');
    assert.equal(machine.fetch('http://127.0.0.1:8083/'), undefined);
    const [{ Endpoint }] = JSON.parse(machine.ok('tsswarm', 'service', 'inspect', 'shop_web')) as [
      { Endpoint: Record<'Spec' | 'Ports', unknown> },
    ];
    const one = { Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' };
    assert.deepEqual(Endpoint.Ports, [
      { ...one, PublishedPort: 8080 },
      { ...one, PublishedPort: 8081 },
      { ...one, PublishedRange: '8081-8085', PublishMode: 'host' },
    ]);
  });

  it("publishes the port on localhost and on the machine's own addresses", async () => {
    assert.equal(await eventually(() => machine.fetch('http://127.0.0.1:8080/'), 'the page'), 'hello\n');
  });

  it('says its version as docker and docker-compose do, and so does tsswarm', () => {
    for (const program of ['tscompose', 'tsswarm'])
      for (const way of ['-v', '--version', 'version'])
        assert.match(machine.ok(program, way), new RegExp(`^${program} \\d+\\.\\d+\\.\\d+\n$`));
  });

  it('works when what is kept of its compiled code is damaged, and keeps it anew', () => {
    machine.composeOk(folder, 'config', '-q');
    const place = join(import.meta.dirname, '..', '..', '.cache', 'compile', 'tscompose', 'config');
    const [name = ''] = readdirSync(place).filter((file) => file.endsWith('.bin'));
    const kept = readFileSync(join(place, name));
    const damaged = Buffer.from(kept);
    damaged.fill(0, kept.length / 4, kept.length / 4 + 4096);
    writeFileSync(join(place, name), damaged);
    machine.composeOk(folder, 'config', '-q');
    assert.notDeepEqual(readFileSync(join(place, name)), damaged);
  });

  it('shows containers as docker compose does', () => {
    const table = machine.composeOk(folder, 'ps');
    assert.match(table, /^NAME +IMAGE +COMMAND +SERVICE +CREATED +STATUS +PORTS/);
    assert.match(table, /shop-web-1 +busybox .* web .*Up .*0\.0\.0\.0:8080->80\/tcp/);
    assert.equal(machine.composeOk(folder, 'ps', '--services').trim().split('\n').sort().join(), 'web,worker');
  });

  it('prints logs with prefixes, and both streams', () => {
    const { stdout, stderr } = machine.compose(folder, 'logs', 'web');
    assert.match(stdout + stderr, /web-1 +\| started\n/);
    assert.match(stdout + stderr, /web-1 +\| problem\n/);
    const last = machine.compose(folder, 'logs', '--no-log-prefix', '--tail', '1', 'web');
    assert.equal((last.stdout + last.stderr).split('\n').filter(Boolean).length, 1);
  });

  it('executes: output, environment, input, user and exit code', () => {
    assert.equal(exec('echo', 'a b'), 'a b\n');
    assert.equal(
      machine.composeOk(folder, 'exec', '-T', '-e', 'X=1', '-w', '/tmp', 'web', 'sh', '-c', 'echo $COLOUR $X $PWD'),
      'blue 1 /tmp\n',
    );
    assert.equal(machine.composeOk(folder, 'exec', '-T', '-u', 'nobody', 'web', 'id', '-u'), '65534\n');
    assert.equal(machine.compose(folder, 'exec', '-T', 'web', 'sh', '-c', 'exit 7').code, 7);
    assert.equal(machine.compose(folder, 'exec', '-T', 'web', 'nosuch').code, 127);
    assert.equal(
      machine.runWith({ cwd: folder, input: 'through\n' }, 'tscompose', 'exec', '-T', 'web', 'cat').stdout,
      'through\n',
    );
  });

  it('resolves services, replicas and container names', () => {
    const lookup = (name: string): number =>
      machine.compose(folder, 'exec', '-T', 'worker', 'ping', '-c', '1', '-W', '1', name).code;
    assert.equal(lookup('web'), 0);
    assert.equal(lookup('shop-worker-2'), 0);
    assert.notEqual(lookup('nosuch'), 0);
  });

  it("keeps a container's files over restart, stop and start", () => {
    exec('sh', '-c', 'echo kept > /kept');
    machine.composeOk(folder, 'restart', '-t', '1', 'web');
    assert.equal(exec('cat', '/kept'), 'kept\n');
    machine.composeOk(folder, 'stop', '-t', '1', 'web');
    assert.equal(machine.fetch('http://127.0.0.1:8080/'), undefined);
    machine.composeOk(folder, 'start', 'web');
    assert.equal(exec('cat', '/kept'), 'kept\n');
  });

  it('restarts a crashed container with its files', async () => {
    machine.compose(folder, 'exec', '-T', 'web', 'sh', '-c', 'echo again > /again; kill 1');
    await eventually(
      () => (machine.compose(folder, 'exec', '-T', 'web', 'cat', '/again').stdout === 'again\n' ? true : undefined),
      'the restart',
    );
  });

  it('replaces a container whose definition changed, and keeps the others', () => {
    const workers = machine.composeOk(folder, 'ps', '-q', 'worker');
    machine.project('shop', { 'compose.yaml': YAML.replace('blue', 'green') });
    machine.composeOk(folder, 'up', '-d');
    assert.equal(exec('sh', '-c', 'echo $COLOUR; cat /kept 2>/dev/null || echo fresh'), 'green\nfresh\n');
    assert.equal(machine.composeOk(folder, 'ps', '-q', 'worker'), workers);
  });

  it('shows what it would do with --dry-run, and does not', () => {
    const before = machine.composeOk(folder, 'ps', '-q');
    machine.project('shop', { 'compose.yaml': YAML.replace('blue', 'red') });
    const { stdout, stderr } = machine.compose(folder, 'up', '-d', '--dry-run');
    assert.match(stdout + stderr, /web/);
    assert.equal(machine.composeOk(folder, 'ps', '-q'), before);
    machine.project('shop', { 'compose.yaml': YAML.replace('blue', 'green') });
  });

  it('scales', () => {
    machine.composeOk(folder, 'up', '-d', '--scale', 'worker=4');
    assert.equal(machine.composeOk(folder, 'ps', '-q', 'worker').trim().split('\n').length, 4);
    machine.composeOk(folder, 'up', '-d', '--scale', 'worker=1');
    assert.equal(machine.composeOk(folder, 'ps', '-q', 'worker').trim().split('\n').length, 1);
  });

  it('runs a one-off container beside the service', () => {
    const { code, stdout, stderr } = machine.compose(
      folder,
      ...['run', '--rm', '-T', 'worker', 'sh', '-c', 'echo one-off; exit 3'],
    );
    assert.deepEqual({ code, stdout }, { code: 3, stdout: 'one-off\n' }, stderr);
    assert.doesNotMatch(machine.composeOk(folder, 'ps', '-a'), /-run-/);
  });

  it('streams logs while attached, and stops gracefully at Ctrl-C', async () => {
    const attached = machine.project('attached', {
      'compose.yaml':
        'services:\n  tick:\n    image: busybox\n    init: true\n    command: sh -c "trap \'echo bye; exit 0\' TERM; echo tick; while true; do sleep 0.1; done"\n',
    });
    const up = machine.start('tscompose', '-f', `${attached}/compose.yaml`, 'up');
    let output = '';
    up.stdout.on('data', (data: Buffer) => (output += data.toString()));
    up.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const ended = new Promise<number | null>((resolve) => up.once('exit', (code) => resolve(code)));
    await eventually(() => (output.includes('tick-1  | tick') ? true : undefined), 'the first line');
    up.kill('SIGINT');
    assert.equal(await ended, 130, output);
    assert.match(output, /Gracefully stopping/);
    assert.equal(machine.composeOk(attached, 'ps', '-q'), '');
    machine.composeOk(attached, 'down');
  });

  it('ends an attached up with the exit code that was asked for', () => {
    const job = machine.project('job', {
      'compose.yaml': 'services: {job: {image: busybox, command: sh -c "echo working; exit 5"}}',
    });
    const { code, stdout, stderr } = machine.compose(job, 'up', '--exit-code-from', 'job');
    assert.match(stdout + stderr, /job-1 +\| working/);
    assert.match(stdout + stderr, /job-1 exited with code 5/);
    assert.equal(code, 5);
    machine.composeOk(job, 'down');
  });

  it('builds an image, from the cache the second time, and runs it', () => {
    const app = machine.project('app', {
      'compose.yaml': 'services: {app: {build: {context: ., args: {WHO: world}}}}',
      Dockerfile:
        'FROM busybox AS base\nARG WHO=nobody\nENV GREETING=hello\nWORKDIR /app\nRUN echo "$GREETING $WHO" > greeting && echo me:x:1234:1234::/:/bin/sh >> /etc/passwd\nCOPY --chown=me files/ ./files/\nFROM base\nUSER me\nCMD ["sh", "-c", "cat /app/greeting /app/files/a; id -u; stat -c %U /app/files/a"]\n',
      'files/a': 'from the context\n',
      'files/skipped': 'x',
      '.dockerignore': 'files/skipped\n',
    });
    const first = machine.compose(app, 'build');
    assert.equal(first.code, 0, first.stderr);
    const second = machine.compose(app, 'build', '--progress', 'plain');
    assert.match(second.stdout + second.stderr, /CACHED/);
    const { stdout, code } = machine.compose(app, 'run', '--rm', '-T', 'app');
    assert.equal(stdout, 'hello world\nfrom the context\n1234\nme\n');
    assert.equal(code, 0);
    assert.notEqual(machine.compose(app, 'run', '--rm', '-T', 'app', 'test', '-e', '/app/files/skipped').code, 0);
    machine.composeOk(app, 'down');
  });

  it('says which step of a build failed, and why', () => {
    const broken = machine.project('broken', {
      'compose.yaml': 'services: {app: {build: .}}',
      Dockerfile: 'FROM busybox\nRUN echo about to fail; exit 9\n',
    });
    const { code, stderr } = machine.compose(broken, 'up', '-d');
    assert.notEqual(code, 0);
    assert.match(stderr, /Dockerfile:2:1: error: building: "RUN echo about to fail; exit 9" failed: exit code 9/);
    assert.match(stderr, /about to fail/);
  });

  it('keeps containers running while the daemon is killed and started again', async () => {
    const before = machine.composeOk(folder, 'ps', '-q');
    const { pid } = JSON.parse(machine.ok('tsswarm', 'status', '--format', 'json')) as { pid: number };
    process.kill(pid, 'SIGKILL');
    assert.equal(
      await eventually(() => machine.fetch('http://127.0.0.1:8080/'), 'the page without a daemon'),
      'hello\n',
    );
    machine.ok('tsswarm', 'init', '--no-systemd');
    assert.equal(machine.composeOk(folder, 'ps', '-q'), before);
    assert.equal(exec('echo', 'back'), 'back\n');
  });

  it('prints the canonical project', () => {
    const json = JSON.parse(machine.composeOk(folder, 'config', '--format', 'json')) as {
      name: string;
      services: object;
    };
    assert.equal(json.name, 'shop');
    assert.deepEqual(Object.keys(json.services), ['web', 'worker']);
    assert.equal(machine.composeOk(folder, 'config', '--services').trim().split('\n').sort().join(), 'web,worker');
  });
});
