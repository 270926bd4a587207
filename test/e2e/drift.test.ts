import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.ts';

const COMPOSE = `services:
  web:
    image: busybox
    user: "1234"
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    pids_limit: 40
    mem_limit: 64m
    cpus: 0.5
    sysctls: {net.core.somaxconn: "99"}
    volumes: ["./data:/data:ro", {type: tmpfs, target: /scratch, tmpfs: {size: 1048576}}]
    secrets: [key]
  told:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    pids_limit: 40
    deploy: {x-drift: report}
  free:
    image: busybox
    privileged: true
    init: true
    command: sleep 1000
    stop_grace_period: 0s
secrets: {key: {file: ./key}}
`;

describe('devices of a container that runs', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());

  it('come and go with their rights, and what is changed of these by hand is repaired', () => {
    const write = (more: string): string =>
      machine.project('dev', {
        'compose.yaml': `services: {web: {image: busybox, init: true, command: sleep 1000, stop_grace_period: 0s${more}}}\n`,
      });
    const folder = write('');
    machine.composeOk(folder, 'up', '-d');
    const id = machine.composeOk(folder, 'ps', '-q').trim();
    const open = (path: string): string =>
      machine.compose(folder, 'exec', '-T', 'web', 'sh', '-c', `: < ${path} && echo opened`).stdout.trim();
    const rules = join('/sys/fs/cgroup/devices', machine.cgroupParent, id);

    write(', devices: ["/dev/loop-control:/dev/control:rw", "/dev/null:/dev/nothing"]');
    assert.match(machine.composeOk(folder, 'up', '--dry-run'), /task\.container\.devices: live/);
    machine.composeOk(folder, 'up', '-d');
    assert.deepEqual([open('/dev/control'), open('/dev/nothing')], ['opened', 'opened']);

    writeFileSync(join(rules, 'devices.deny'), 'c 10:237 rw');
    assert.equal(open('/dev/control'), '');
    assert.match(machine.composeOk(folder, 'ps', '--drift'), /device rule c 10:237 .*rw .*nothing .*repaired/);
    assert.equal(open('/dev/control'), 'opened');

    write('');
    machine.composeOk(folder, 'up', '-d');
    assert.equal(machine.composeOk(folder, 'ps', '-q').trim(), id);
    assert.deepEqual([open('/dev/control'), open('/dev/nothing'), open('/dev/null')], ['', '', 'opened']);
    assert.doesNotMatch(readFileSync(join(rules, 'devices.list'), 'utf8'), /10:237/);
  });
});

describe('what somebody changes by hand on a container', function () {
  let machine: Machine;
  let folder = '';
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('app', { 'compose.yaml': COMPOSE, key: 'the key', 'data/file': 'x' });
    machine.composeOk(folder, 'up', '-d');
  });
  after(() => machine.dispose());

  const idOf = (service: string): string => machine.composeOk(folder, 'ps', '-q', service).trim();
  const pidOf = (service: string): string => {
    const path = join(machine.dir, 'run', 'engine', 'containers', idOf(service), 'state.json');
    return String((JSON.parse(readFileSync(path, 'utf8')) as { pid: number }).pid);
  };
  const cgroup = (service: string, file: string): string => {
    const controller = file.split('.')[0] ?? '';
    return join('/sys/fs/cgroup', controller, machine.cgroupParent, idOf(service), file);
  };
  const enter = (service: string, namespaces: readonly string[], ...argv: readonly string[]): string =>
    execFileSync('nsenter', ['-t', pidOf(service), ...namespaces, ...argv], { encoding: 'utf8' });
  /** Field → what was found, what was done. */
  const drifts = (service: string): ReadonlyMap<string, readonly [found: string, outcome: string]> => {
    const text = machine.ok('tsswarm', 'service', 'ps', '--drift', '--no-trunc', '--format', 'json', `app_${service}`);
    const rows = text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<'Field' | 'Found' | 'Outcome', string>);
    return new Map(rows.map(({ Field, Found, Outcome }) => [Field, [Found, Outcome]]));
  };

  it('is nothing where nobody has changed anything', () => {
    for (const service of ['web', 'told', 'free']) assert.deepEqual([...drifts(service)], [], service);
  });

  it('is repaired, and told', () => {
    const before = pidOf('web');
    const secrets = join(machine.dir, 'run', 'engine', 'secrets', idOf('web'));
    const secret = join(secrets, readdirSync(secrets).find((name) => !name.includes('.')) ?? '');
    const files = join(machine.dir, 'state', 'engine', 'containers', idOf('web'));
    writeFileSync(cgroup('web', 'pids.max'), '9');
    writeFileSync(cgroup('web', 'memory.memsw.limit_in_bytes'), '-1');
    writeFileSync(cgroup('web', 'memory.limit_in_bytes'), String(128 << 20));
    enter('web', ['--net', '--uts'], 'hostname', 'elsewhere');
    enter('web', ['--net'], 'sh', '-c', 'echo 7 > /proc/sys/net/core/somaxconn');
    enter('web', ['--net'], 'ip', 'addr', 'flush', 'dev', 'eth0');
    enter('web', ['--net'], 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
    execFileSync(process.execPath, [
      join(import.meta.dirname, 'remount.ts'),
      before,
      '/data',
      '/scratch',
      '/run/secrets/key',
    ]);
    writeFileSync(secret, 'another');
    writeFileSync(join(files, 'hosts'), '192.0.2.1 elsewhere\n');

    const found = drifts('web');
    const fields = [...found.keys()].sort();
    assert.deepEqual(fields, [
      'address eth0',
      'file /etc/hosts',
      'file /run/secrets/key',
      'hostname',
      'memory.limit_in_bytes',
      'memory.memsw.limit_in_bytes',
      'mount /data',
      'mount /run/secrets/key',
      'mount /scratch',
      'mtu eth0',
      'pids.max',
      fields.find((field) => /route .*\/\d+/.test(field)),
      'route default',
      'sysctl net.core.somaxconn',
    ]);
    for (const [field, [, outcome]] of found) assert.equal(outcome, 'repaired', field);
    assert.equal(readFileSync(cgroup('web', 'pids.max'), 'utf8').trim(), '40');
    assert.equal(readFileSync(cgroup('web', 'memory.limit_in_bytes'), 'utf8').trim(), String(64 << 20));
    const see = (...argv: readonly string[]): string => machine.composeOk(folder, 'exec', '-T', 'web', ...argv);
    assert.match(see('hostname'), new RegExp(idOf('web').slice(0, 12)));
    assert.equal(see('cat', '/proc/sys/net/core/somaxconn').trim(), '99');
    assert.equal(see('cat', '/run/secrets/key'), 'the key');
    assert.match(see('cat', '/etc/hosts'), /localhost/);
    assert.match(see('grep', ' /data ', '/proc/self/mounts'), / ro,/);
    assert.match(see('df', '-k', '/scratch'), / 1024 /);
    assert.match(see('ip', 'route'), /default via/);
    assert.equal(pidOf('web'), before);
    assert.match(machine.composeOk(folder, 'ps', '--drift'), /web-1 .*pids\.max .*40 .*9 .*repaired/);
  });

  it('is only told where the service says so, until it is undone', () => {
    writeFileSync(cgroup('told', 'pids.max'), '9');
    const [found, outcome] = drifts('told').get('pids.max') ?? [];
    assert.equal(found, '9');
    assert.match(outcome ?? '', /not repaired: .*x-drift: report/);
    assert.equal(readFileSync(cgroup('told', 'pids.max'), 'utf8').trim(), '9');
    writeFileSync(cgroup('told', 'pids.max'), '40');
    assert.deepEqual([...drifts('told')], []);
  });

  it('is told and left where a process may have done it itself, and no business of ours where it may do anything', () => {
    machine.composeOk(folder, 'exec', '-T', 'told', 'sh', '-c', 'echo 192.0.2.9 there >> /etc/hosts');
    const [, outcome] = drifts('told').get('file /etc/hosts') ?? [];
    assert.match(outcome ?? '', /not repaired: a process of the container/);
    machine.composeOk(
      folder,
      'exec',
      '-T',
      'free',
      'sh',
      '-c',
      'mkdir -p /mnt && mount -t tmpfs x /mnt && hostname own',
    );
    assert.deepEqual(
      [...drifts('free').keys()].filter((field) => !field.startsWith('file ')),
      [],
    );
    assert.equal(machine.composeOk(folder, 'exec', '-T', 'free', 'hostname').trim(), 'own');
  });

  it('is repaired for all containers of a network whose bridge was removed, also for those that may do what they like', () => {
    const pids = ['web', 'told', 'free'].map(pidOf);
    const bridge = /^\d+: (\S+?):/m.exec(machine.ok('ip', 'link', 'show', 'type', 'bridge'))?.[1];
    assert.ok(bridge);
    const gateway = / inet (\S+)/.exec(machine.ok('ip', '-o', 'address', 'show', 'dev', bridge))?.[1];
    assert.ok(gateway);
    machine.ok('ip', 'link', 'delete', bridge);
    // Where it cannot be made anew, that is told.
    machine.ok('ip', 'link', 'add', 'foreign', 'type', 'bridge');
    machine.ok('ip', 'address', 'add', gateway, 'dev', 'foreign');
    const [gone, outcome] = drifts('web').get('bridge of eth0') ?? [];
    assert.equal(gone, 'gone');
    assert.match(outcome ?? '', /not repaired: it could not be made anew/);
    machine.ok('ip', 'link', 'delete', 'foreign');
    const end = /^interface \S+ of the node$/;
    const found = (service: string): unknown =>
      [...drifts(service)].filter(([field]) => end.test(field)).map(([, is]) => is);
    assert.deepEqual(found('web'), [['not on its bridge', 'repaired']]);
    assert.deepEqual(found('free'), [['not on its bridge', 'repaired']]);
    assert.match(JSON.stringify(found('told')), /not repaired: .*x-drift: report/);
    const reach = (to: string): number =>
      machine.compose(folder, 'exec', '-T', 'free', 'ping', '-c', '1', '-W', '2', to).code ?? -1;
    assert.deepEqual([reach('web'), reach('told')], [0, 1]);
    assert.deepEqual(['web', 'told', 'free'].map(pidOf), pids);
  });
});
