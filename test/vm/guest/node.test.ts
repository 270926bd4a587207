import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../integration/launcher/fixture.ts';

const PROJECT = join(import.meta.dirname, '..', '..', '..');
const FOLDER = '/root/vmt';
const UNIT = '/etc/systemd/system/tsswarm.service';
const PARENT = '/sys/fs/cgroup/tsswarm';
const MIB = 1024 * 1024;

const COMPOSE = `name: vmt
services:
  limits:
    image: busybox
    command: ["sh", "-c", "echo limits are up; exec sleep 100000"]
    cpuset: "1"
    cpu_shares: 512
    memswap_limit: 96m
    mem_reservation: 32m
    deploy:
      resources:
        limits: { cpus: "0.2", memory: 64M, pids: 40 }
  burner:
    image: busybox
    command: ["sh", "-c", "while :; do :; done"]
    cpus: 0.1
  bomb:
    image: busybox
    # The inner shell gives up where it cannot fork any more; what it has started stays.
    command: ["sh", "-c", "sh -c 'while :; do sleep 100000 & done'; exec sleep 100000"]
    pids_limit: 20
  hog:
    image: busybox
    command: ["tail", "/dev/zero"]
    mem_limit: 32m
    memswap_limit: 32m
  web:
    image: nginx
    ports: ["127.0.0.1:8080:80"]
`;

interface Ran {
  readonly code: number;
  readonly out: string;
}

/** Runs a command in the project's folder; both streams together. */
function run(command: string, ...args: readonly string[]): Ran {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: FOLDER,
    encoding: 'utf8',
    timeout: 280_000,
  });
  if (error) throw error;
  return { code: status ?? -1, out: stdout + stderr };
}

/** The same, of a command that must succeed. */
function done(command: string, ...args: readonly string[]): string {
  const { code, out } = run(command, ...args);
  equal(code, 0, `${command} ${args.join(' ')} ended with ${code}\n${out}`);
  return out;
}

const say = (label: string, text: string): void =>
  console.log(`      ${label}: ${text.trim().replaceAll('\n', ' | ')}`);

interface Running {
  readonly id: string;
  readonly pid: number;
}

/** The running container of a service, from the engine's own files. */
function containerOf(service: string): Running {
  const folder = '/run/tsswarm/engine/containers';
  for (const id of readdirSync(folder)) {
    const record = readFileSync(join('/var/lib/tsswarm/engine/containers', id, 'container.json'), 'utf8');
    const state = join(folder, id, 'state.json');
    if (!record.includes(`vmt-${service}`) || !existsSync(state) || existsSync(join(folder, id, 'exit.json'))) continue;
    return { id, pid: (JSON.parse(readFileSync(state, 'utf8')) as { pid: number }).pid };
  }
  throw new Error(`no container of "${service}" runs`);
}

function knob(service: string, name: string): string {
  return readFileSync(join(PARENT, containerOf(service).id, name), 'utf8').trim();
}

/** Each service's running container. */
const running = (...services: readonly string[]): readonly Running[] => services.map(containerOf);

describe('a node under systemd on a machine with cgroup version 2 alone', () => {
  before(() => {
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(join(FOLDER, 'compose.yaml'), COMPOSE);
  });
  after(function () {
    if (this.test?.parent?.tests.every(({ state }) => state === 'passed') === true) return;
    // What a failure needs to be understood: there is no second look into this machine.
    console.log(run('journalctl', '-u', 'tsswarm', '-n', '60', '-o', 'cat', '--no-pager').out);
    console.log(run('tscompose', 'ps', '-a').out);
  });

  it('has systemd as its init and no version 1 hierarchy', () => {
    equal(readFileSync('/proc/1/comm', 'utf8').trim(), 'systemd');
    ok(existsSync('/sys/fs/cgroup/cgroup.controllers'));
    ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(' - cgroup cgroup '));
  });

  it('is started by "tsswarm init" as a unit that says when it is ready', () => {
    const out = done('tsswarm', 'init');
    match(out, /Swarm initialized: current node/);
    match(out, /journalctl -u tsswarm\.service/);
    ok(existsSync(UNIT));
    equal(done('systemctl', 'is-active', 'tsswarm').trim(), 'active');
    equal(done('systemctl', 'is-enabled', 'tsswarm').trim(), 'enabled');
    const shown = done('systemctl', 'show', 'tsswarm', '-p', 'Type,NotifyAccess,Delegate,KillMode,StatusErrno,Result');
    for (const line of ['Type=notify', 'Delegate=yes', 'KillMode=process', 'Result=success'])
      ok(shown.includes(line), shown);
    const journal = done('journalctl', '-u', 'tsswarm', '-o', 'cat', '--no-pager');
    match(journal, /"message":"ready"/);
    match(journal, /Started tsswarm\.service/);
    match(run('systemd-analyze', 'verify', UNIT).out, /^(?!.*tsswarm\.service:\d)/s);
    match(run('tsswarm', 'init').out, /one runs at/);
    match(done('tsswarm', 'status'), /v2/);
  });

  it('brings a project up', () => {
    for (const image of ['busybox', 'nginx'])
      done('tsswarm', 'image', 'load', '-i', join(PROJECT, '.cache/images', `${image}.tar`));
    done('tscompose', 'up', '-d', 'limits', 'burner', 'bomb', 'web');
    match(done('tscompose', 'ps'), /vmt-limits-1/);
  });

  it('gives each limit to the kernel as it was asked', () => {
    const expected = {
      'cpu.max': '20000 100000',
      'cpu.weight': '20',
      'cpuset.cpus': '1',
      'cpuset.cpus.effective': '1',
      'memory.max': `${64 * MIB}`,
      'memory.swap.max': `${32 * MIB}`,
      'pids.max': '40',
    };
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, knob('limits', name)]));
    say('cgroup of "limits"', JSON.stringify(found));
    deepEqual(found, expected);
    equal(knob('burner', 'cpu.max'), '10000 100000');
    equal(knob('bomb', 'pids.max'), '20');
    equal(knob('web', 'memory.max'), 'max');
  });

  it('throttles what wants more processor time, and bounds the number of processes', async () => {
    await eventually(() => Number(/^nr_throttled (\d+)$/m.exec(knob('burner', 'cpu.stat'))?.[1]) > 3);
    say('cpu.stat of "burner"', knob('burner', 'cpu.stat'));
    await eventually(() => Number(/^max (\d+)$/m.exec(knob('bomb', 'pids.events'))?.[1]) > 0);
    say(
      'pids of "bomb"',
      `${knob('bomb', 'pids.current')} of ${knob('bomb', 'pids.max')}, ${knob('bomb', 'pids.events')}`,
    );
    ok(Number(knob('bomb', 'pids.current')) <= 20);
  });

  it('says that a container was killed for memory', async () => {
    run('tscompose', 'up', '-d', 'hog');
    await eventually(() => /out of memory/.test(run('tscompose', 'ps', '-a', '--no-trunc').out));
    const line =
      done('tscompose', 'ps', '-a', '--no-trunc')
        .split('\n')
        .find((one) => one.includes('hog')) ?? '';
    say('ps', line);
    match(line, /137/);
    done('tscompose', 'stop', 'hog');
  });

  it('keeps devices from containers by a program', () => {
    // 254:0 is the disk of this machine: any node may be made, this one must not open.
    const probe =
      'mknod /disk b 254 0 && (head -c 1 /disk >/dev/null) 2>&1; mknod /zero c 1 5 && head -c 3 /zero | wc -c';
    const { out } = run('tscompose', 'exec', '-T', 'limits', 'sh', '-c', probe);
    say('exec', out);
    match(out, /Operation not permitted/);
    match(out, /^3$/m);
  });

  it('executes, logs and publishes', async () => {
    match(done('tscompose', 'exec', '-T', 'limits', 'cat', '/proc/self/cgroup'), /^0::\/\n$/);
    match(done('tscompose', 'logs', 'limits'), /limits are up/);
    await eventually(() => run('curl', '-fsS', '-m', '5', 'http://127.0.0.1:8080/').code === 0);
  });

  it('keeps containers running over a restart of the unit', () => {
    const before = running('limits', 'burner', 'bomb', 'web');
    const daemon = done('systemctl', 'show', 'tsswarm', '-p', 'MainPID', '--value').trim();
    done('systemctl', 'restart', 'tsswarm');
    ok(done('systemctl', 'show', 'tsswarm', '-p', 'MainPID', '--value').trim() !== daemon);
    deepEqual(running('limits', 'burner', 'bomb', 'web'), before);
    say('same processes after the restart', before.map(({ pid }) => pid).join(' '));
    match(done('tscompose', 'exec', '-T', 'limits', 'echo', 'still here'), /still here/);
    equal(knob('limits', 'memory.max'), `${64 * MIB}`);
    equal(knob('limits', 'cpu.max'), '20000 100000');
  });

  it('keeps containers and their limits while the unit is stopped or killed', () => {
    const before = running('limits', 'burner', 'bomb', 'web');
    done('systemctl', 'stop', 'tsswarm');
    equal(run('systemctl', 'is-active', 'tsswarm').out.trim(), 'inactive');
    // Without a unit that has controllers delegated systemd may take them out of the root: ours must stay.
    done('systemctl', 'daemon-reload');
    deepEqual(running('limits', 'burner', 'bomb', 'web'), before);
    for (const { pid } of before) ok(existsSync(`/proc/${pid}`));
    equal(knob('limits', 'cpu.max'), '20000 100000');
    equal(knob('limits', 'cpuset.cpus'), '1');
    done('systemctl', 'start', 'tsswarm');
    done('systemctl', 'kill', '-s', 'KILL', 'tsswarm');
    done('systemctl', 'restart', 'tsswarm');
    deepEqual(running('limits', 'burner', 'bomb', 'web'), before);
  });

  it("keeps nothing of its containers in the unit's own cgroup", () => {
    const procs = readFileSync('/sys/fs/cgroup/system.slice/tsswarm.service/cgroup.procs', 'utf8').trim().split('\n');
    const main = done('systemctl', 'show', 'tsswarm', '-p', 'MainPID', '--value').trim();
    deepEqual(procs, [main]);
  });

  it('stops, starts and takes a project down', () => {
    done('tscompose', 'stop', 'bomb', 'burner');
    equal(readdirSync(PARENT).filter((name) => /^[0-9a-f]{64}$/.test(name)).length, 2);
    done('tscompose', 'start', 'burner');
    ok(containerOf('burner').pid > 0);
    done('tscompose', 'down');
    deepEqual(
      readdirSync(PARENT).filter((name) => /^[0-9a-f]{64}$/.test(name)),
      [],
    );
  });

  it('leaves nothing behind when it leaves with a project up', async () => {
    done('tscompose', 'up', '-d', 'limits', 'web');
    done('tsswarm', 'leave', '--force');
    ok(!existsSync(UNIT), 'the unit file');
    // "failed" units are kept in systemd's memory: there must be none either.
    equal(done('systemctl', 'list-units', '--all', '--no-legend', '--plain', 'tsswarm*').trim(), '');
    equal(run('systemctl', 'is-enabled', 'tsswarm').code === 0, false);
    await eventually(() => leftovers().length === 0).catch(() => deepEqual(leftovers(), []));
  });

  it('can be started anew afterwards', () => {
    match(done('tsswarm', 'init'), /Swarm initialized/);
    done('tsswarm', 'leave', '--force');
    deepEqual(leftovers(), []);
  });
});

/** What of the node is still on the machine. */
function leftovers(): string[] {
  const found: string[] = [];
  if (existsSync(PARENT))
    found.push(...execFileSync('find', [PARENT, '-type', 'd'], { encoding: 'utf8' }).trim().split('\n'));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  found.push(...mounts.filter((line) => /\/(run|var\/lib)\/tsswarm/.test(line)));
  found.push(
    ...execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line !== '' && !/ lo: /.test(line)),
  );
  found.push(...execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }).split('\n').filter(Boolean));
  found.push(...execFileSync('ip', ['netns'], { encoding: 'utf8' }).split('\n').filter(Boolean));
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const program = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (/tsrun|tsswarmd/.test(program)) found.push(`${pid} ${program.replaceAll('\0', ' ')}`);
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}
