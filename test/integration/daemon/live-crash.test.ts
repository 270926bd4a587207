import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '../../../base/random.ts';
import { Machine, eventually } from '../../e2e/machine.ts';

/** `npm run test:crash:live` makes 100 rounds. A failing run is repeated with the seed that it printed. */
const ROUNDS = Number(process.env['TSSWARM_CRASH_ROUNDS'] ?? 4);
const SEED = Number(process.env['TSSWARM_CRASH_SEED'] ?? Date.now() % 1_000_000);
/** Longer than an update takes here, so that every moment of it is hit. */
const LATEST_KILL_MS = 500;

/** What two versions of the service differ in: something of every step that an engine takes. */
const VERSIONS = [
  { cpus: '0.5', quota: '50000', nofile: 900, host: 'one', backlog: '111', volume: './a:/mnt/x', search: 'a.example' },
  { cpus: '0.7', quota: '70000', nofile: 800, host: 'two', backlog: '222', volume: './b:/mnt/y', search: 'b.example' },
] as const;
type Version = (typeof VERSIONS)[number];

const yaml = ({ cpus, nofile, host, backlog, volume, search }: Version): string => `services:
  web:
    image: busybox
    command: sleep 100000
    init: true
    cpus: ${cpus}
    hostname: ${host}
    dns_search: ${search}
    sysctls: {net.core.somaxconn: "${backlog}"}
    ulimits: {nofile: {soft: ${nofile}, hard: 1000}}
    volumes: ["${volume}"]
    secrets: [key]
    stop_grace_period: 0s
secrets: {key: {file: ./key}}
`;

describe(`kill -9 of the daemon in the middle of live updates, ${ROUNDS} rounds, seed ${SEED}`, function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());

  const write = (version: Version): string =>
    machine.project('shop', { 'compose.yaml': yaml(version), key: version.host, 'a/f': './a', 'b/f': './b' });
  const daemonPid = (): number =>
    (JSON.parse(machine.ok('tsswarm', 'status', '--format', 'json')) as { pid: number }).pid;

  it('every one is finished or taken back: the same process, and the kernel has what the spec says', async function () {
    this.timeout(ROUNDS * 40_000);
    const random = seededRandom(SEED);
    const folder = write(VERSIONS[0]);
    machine.composeOk(folder, 'up', '-d');
    const id = machine.composeOk(folder, 'ps', '-q').trim();
    const containers = join(machine.dir, 'run', 'engine', 'containers');
    const pid = (): number =>
      (JSON.parse(readFileSync(join(containers, id, 'state.json'), 'utf8')) as { pid: number }).pid;
    const first = pid();
    const group = join(machine.cgroupParent, id);
    for (let round = 1; round <= ROUNDS; round++) {
      const version = VERSIONS[round % VERSIONS.length] as Version;
      write(version);
      const daemon = daemonPid();
      const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
      const ended = new Promise((resolve) => up.once('exit', resolve));
      const { promise, resolve } = Promise.withResolvers<void>();
      setTimeout(resolve, random.next() * LATEST_KILL_MS);
      await promise;
      process.kill(daemon, 'SIGKILL');
      // The command waits for the daemon, and goes on when it is back.
      machine.run('tsswarm', 'init', '--no-systemd');
      await ended;
      machine.composeOk(folder, 'up', '-d');
      const settled = await eventually(() => {
        const shown = machine.composeOk(folder, 'ps', '--format', 'json');
        const { ID, Spec } = JSON.parse(shown) as { ID: string; Spec: { Wanted: number; Applied: number } };
        return Spec.Wanted === Spec.Applied ? ID : undefined;
      }, 'the newest spec in the container');
      assert.equal(settled, id, `round ${round}: the container was replaced`);
      assert.equal(pid(), first, `round ${round}: another process`);
      assert.equal(readFileSync(join('/sys/fs/cgroup/cpu', group, 'cpu.cfs_quota_us'), 'utf8').trim(), version.quota);
      assert.match(readFileSync(`/proc/${first}/limits`, 'utf8'), new RegExp(`open files +${version.nofile} +1000`));
      const look =
        'hostname; cat /proc/sys/net/core/somaxconn /run/secrets/key; echo; cat /mnt/*/f; echo; cat /etc/resolv.conf';
      const seen = machine.composeOk(folder, 'exec', '-T', 'web', 'sh', '-c', look);
      const [source] = version.volume.split(':');
      const expected = [version.host, version.backlog, version.host, source].join('\n');
      assert.ok(seen.startsWith(`${expected}\n`), `round ${round}: ${seen}`);
      assert.match(seen, new RegExp(`search ${version.search}`));
      const mounts = readFileSync(`/proc/${first}/mountinfo`, 'utf8');
      assert.equal(mounts.match(/ \/mnt\//g)?.length, 1, `round ${round}: ${mounts}`);
      assert.equal(mounts.match(/ \/run\/secrets\/key /g)?.length, 1, `round ${round}: ${mounts}`);
      const journal = join(machine.stateDir, 'engine', 'containers', id, 'changing.json');
      assert.ok(!existsSync(journal), `round ${round}: the change is still noted`);
    }
  });
});
