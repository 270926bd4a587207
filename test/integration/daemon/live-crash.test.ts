import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '../../../base/random.ts';
import { Machine, eventually } from '../../e2e/machine.ts';

/** `npm run test:crash:live` makes 100 rounds. A failing run is repeated with the seed that it printed. */
const ROUNDS = Number(process.env['TSSWARM_CRASH_ROUNDS'] ?? 4);
const SEED = Number(process.env['TSSWARM_CRASH_SEED'] ?? Date.now() % 1_000_000);

/** Share of the rounds in which the daemon is killed while the engine works on the container, which is a small part of an update. */
const AIMED = 0.7;
/** About as long as that takes. */
const CHANGE_MS = 6;

/** What two versions of the service differ in: something of every kind of change, and of every step that an engine takes. */
const VERSIONS = [
  {
    name: 'one',
    cpus: '0.5',
    memory: 64,
    pids: 50,
    shares: 512,
    nofile: 900,
    score: 10,
    backlog: '111',
    mib: 1,
    port: 8081,
    subnet: 1,
  },
  {
    name: 'two',
    cpus: '0.7',
    memory: 80,
    pids: 60,
    shares: 768,
    nofile: 800,
    score: 20,
    backlog: '222',
    mib: 2,
    port: 8082,
    subnet: 2,
  },
] as const;
type Version = (typeof VERSIONS)[number];

const yaml = ({ name, cpus, memory, pids, shares, nofile, score, backlog, mib, port }: Version): string => `services:
  web:
    image: busybox
    command: httpd -f -p 80 -h /
    init: true
    restart: always
    cpus: ${cpus}
    mem_limit: ${memory}m
    pids_limit: ${pids}
    cpu_shares: ${shares}
    oom_score_adj: ${score}
    ulimits: {nofile: {soft: ${nofile}, hard: 1000}}
    hostname: ${name}
    domainname: ${name}.test
    dns_search: ${name}.example
    extra_hosts: ["${name}:10.1.2.3"]
    sysctls: {net.core.somaxconn: "${backlog}"}
    shm_size: ${mib}m
    tmpfs: ["/mnt/tmpfs:size=${mib}m"]
    volumes: ["./${name}:/mnt/both", "./both:/mnt/attributes:${name === 'one' ? 'ro' : 'rw'}", "${name}:/mnt/volume-${name}", "./${name}:/mnt/${name}"]
    secrets: [key, {source: key, target: secret-${name}}]
    configs: [{source: conf, target: /etc/${name}.conf}]
    ports: ["8080:80", "${port}:80"]
    labels: {mine: ${name}}
    healthcheck: {test: "true", interval: ${mib}s}
    logging: {options: {max-size: ${mib}m}}
    networks: {default: {}, ${name}: {gw_priority: 1, aliases: [${name}]}}
    stop_grace_period: 0s
    deploy: {update_config: {monitor: 0s, parallelism: 0, order: stop-first}}
secrets: {key: {file: ./key}}
configs: {conf: {content: "conf ${name}"}}
volumes: {one: {}, two: {}}
networks:
  default: {}
  one: {ipam: {config: [{subnet: 10.77.1.0/24}]}}
  two: {ipam: {config: [{subnet: 10.77.2.0/24}]}}
`;

/** What a process of the container sees. */
const LOOK = `hostname
cat /proc/sys/kernel/domainname /proc/sys/net/core/somaxconn /etc/hostname
cat /run/secrets/key; echo
cat /mnt/both/index.html /etc/one.conf /etc/two.conf 2>/dev/null; echo
grep -o 'search .*' /etc/resolv.conf
grep 10.1.2.3 /etc/hosts
ip addr | grep -o 'inet 10.77.[0-9]*'
ip addr | grep -c 'scope global'
ip route | grep -o 'default via 10.77.[0-9]*'
grep -o '^10.77.[0-9]*' /etc/hosts
df -k /dev/shm /mnt/tmpfs | awk '{print $2}'
touch /mnt/attributes/x 2>/dev/null && echo writable || echo read-only
cat /proc/self/mountinfo | cut -d' ' -f5 | grep -E '^/(mnt|run|etc)/' | sort`;

const seenWith = ({ name, backlog, mib, subnet }: Version): string => {
  const files = ['/etc/hostname', '/etc/hosts', `/etc/${name}.conf`, '/etc/resolv.conf'];
  const targets = ['/mnt/attributes', '/mnt/both', `/mnt/${name}`, '/mnt/tmpfs', `/mnt/volume-${name}`];
  const secrets = ['/run/secrets/key', `/run/secrets/secret-${name}`];
  return [
    ...[name, `${name}.test`, backlog, name, name],
    ...[`page ${name}`, `conf ${name}`],
    ...[`search ${name}.example`, `10.1.2.3\t${name}`],
    ...[`inet 10.77.${subnet}`, '2', `default via 10.77.${subnet}`, `10.77.${subnet}`],
    ...['1K-blocks', String(mib * 1024), String(mib * 1024)],
    name === 'one' ? 'read-only' : 'writable',
    ...[...files, ...targets, ...secrets].sort(),
  ].join('\n');
};

describe(`kill -9 in the middle of live updates, ${ROUNDS} rounds, seed ${SEED}`, function () {
  this.timeout(120_000 + ROUNDS * 60_000);
  const random = seededRandom(SEED);
  let machine: Machine;
  let folder: string;
  /** How long an update takes here that is left alone. */
  let usualMs: number;
  /** Changes that were noted and not done when the daemon was killed. */
  let halves = 0;
  before(() => {
    machine = Machine.create(['busybox']);
    folder = write(VERSIONS[0]);
    machine.composeOk(folder, 'up', '-d', '--wait');
    write(VERSIONS[1]);
    const began = performance.now();
    machine.composeOk(folder, 'up', '-d');
    usualMs = performance.now() - began;
  });
  after(() => machine.dispose());

  const write = (version: Version): string =>
    machine.project('shop', {
      'compose.yaml': yaml(version),
      key: version.name,
      'one/index.html': 'page one\n',
      'two/index.html': 'page two\n',
      'both/file': '',
    });
  const stateOf = (id: string): { readonly pid: number; readonly supervisorPid: number } =>
    JSON.parse(readFileSync(join(machine.dir, 'run', 'engine', 'containers', id, 'state.json'), 'utf8')) as {
      pid: number;
      supervisorPid: number;
    };
  const daemonPid = (): number => {
    const pid = machine.daemonPid();
    assert.ok(pid !== undefined, 'no daemon runs');
    return pid;
  };
  /** The container, once it has what was asked for last. */
  const settled = (): Promise<string> =>
    eventually(
      () => {
        const { code, stdout } = machine.compose(folder, 'ps', '--format', 'json');
        if (code !== 0 || stdout.trim() === '') return undefined;
        const { ID, Spec, State } = JSON.parse(stdout) as {
          readonly ID: string;
          readonly State: string;
          readonly Spec: { readonly Wanted: number; readonly Applied: number };
        };
        return Spec.Wanted === Spec.Applied && State === 'running' ? ID : undefined;
      },
      'the newest spec in a container that runs',
      120_000,
    );
  /**
   * Begins an update, and kills somebody somewhere in the middle of it.
   * @param aimed a container: not before its change has been begun, which does not take long
   */
  const updateWith = async (version: Version, pid: number, aimed?: string): Promise<void> => {
    write(version);
    const { promise, resolve } = Promise.withResolvers<void>();
    const killAfter = (ms: number): void => {
      if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        // A container that was replaced already.
        assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH');
      }
      resolve();
    };
    const watcher =
      aimed === undefined
        ? undefined
        : watch(join(machine.stateDir, 'engine', 'containers', aimed), () => {
            watcher?.close();
            killAfter(random.next() * CHANGE_MS);
          });
    const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    const ended = new Promise((done) => up.once('exit', done));
    up.stdout.resume();
    up.stderr.resume();
    if (watcher === undefined) setTimeout(killAfter, random.next() * usualMs, 0);
    await promise;
    if (aimed !== undefined && existsSync(journalOf(aimed))) halves++;
    // The command waits for the daemon, and goes on when it is back.
    machine.run('tsswarm', 'init', '--no-systemd');
    await ended;
  };
  /** Kernel, namespaces and rules against the specification. */
  const check = async (id: string, version: Version, when: string): Promise<void> => {
    const { pid } = stateOf(id);
    const seen = execFileSync(
      'nsenter',
      ['-t', String(pid), '-u', '-i', '-n', '-m', '-p', '-r', '-w', '/bin/sh', '-c', LOOK],
      {
        encoding: 'utf8',
      },
    );
    assert.equal(seen.trim(), seenWith(version), when);
    const group = (controller: string, file: string): string =>
      readFileSync(join('/sys/fs/cgroup', controller, machine.cgroupParent, id, file), 'utf8').trim();
    assert.deepEqual(
      [
        group('cpu', 'cpu.cfs_quota_us'),
        group('cpu', 'cpu.shares'),
        group('memory', 'memory.limit_in_bytes'),
        group('pids', 'pids.max'),
        readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim(),
      ],
      [
        String(Number(version.cpus) * 100_000),
        String(version.shares),
        String(version.memory * 2 ** 20),
        String(version.pids),
        String(version.score),
      ],
      when,
    );
    for (const process of group('pids', 'cgroup.procs').split('\n'))
      assert.match(
        readFileSync(`/proc/${process}/limits`, 'utf8'),
        new RegExp(`open files +${version.nofile} +1000`),
        when,
      );
    for (const port of [8080, version.port]) {
      const page = await eventually(() => machine.fetch(`http://127.0.0.1:${port}/mnt/both/`), `${when}: port ${port}`);
      assert.equal(page, `page ${version.name}\n`, when);
    }
    const other = VERSIONS.find((one) => one !== version);
    await eventually(
      () => (machine.fetch(`http://127.0.0.1:${other?.port}/`) === undefined ? true : undefined),
      `${when}: port ${other?.port} is closed`,
    );
    assert.ok(!existsSync(journalOf(id)), `${when}: the change is still noted`);
  };
  const journalOf = (id: string): string => join(machine.stateDir, 'engine', 'containers', id, 'changing.json');

  it('of the daemon: every one is finished or taken back, in the same process, and the kernel has what the spec says', async () => {
    const id = await settled();
    const first = stateOf(id).pid;
    for (let round = 1; round <= ROUNDS; round++) {
      const version = VERSIONS[(round + 1) % VERSIONS.length] as Version;
      await updateWith(version, daemonPid(), random.next() < AIMED ? id : undefined);
      machine.composeOk(folder, 'up', '-d');
      const when = `round ${round}`;
      assert.equal(await settled(), id, `${when}: ${machine.ok('tsswarm', 'service', 'ps', '--no-trunc', 'shop_web')}`);
      assert.equal(stateOf(id).pid, first, `${when}: another process`);
      await check(id, version, when);
    }
    console.log(`      ${halves} of ${ROUNDS} kills found a change half made`);
  });

  it("of a container's supervisor: what runs afterwards has what the spec says", async () => {
    for (let round = 1; round <= Math.ceil(ROUNDS / 5); round++) {
      const version = VERSIONS[(round + 1) % VERSIONS.length] as Version;
      const id = await settled();
      await updateWith(version, stateOf(id).supervisorPid);
      machine.compose(folder, 'up', '-d');
      await check(await settled(), version, `round ${round}`);
    }
  });
});
