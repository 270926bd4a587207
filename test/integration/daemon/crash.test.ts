import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '../../../base/random.ts';
import { Machine, eventually } from '../../e2e/machine.ts';

/** `npm run test:crash` makes 100 rounds. A failing run is repeated with the seed that it printed. */
const ROUNDS = Number(process.env['TSSWARM_CRASH_ROUNDS'] ?? 8);
const SEED = Number(process.env['TSSWARM_CRASH_SEED'] ?? Date.now() % 1_000_000);
/** Longer than an up or down takes here, so that every moment of it is hit. */
const LATEST_KILL_MS = 900;

const YAML = `services:
  db: {image: busybox, command: sleep 1000, init: true, volumes: ["data:/data"]}
  migrate: {image: busybox, command: "true", depends_on: [db]}
  web:
    image: busybox
    command: httpd -f -p 80
    init: true
    ports: ["8080:80"]
    deploy: {replicas: 2}
    restart: always
    depends_on: {db: {condition: service_started}, migrate: {condition: service_completed_successfully}}
  worker: {image: busybox, command: sleep 1000, init: true, depends_on: [web]}
volumes: {data: }
`;

describe(`kill -9 of the daemon in the middle of up and down, ${ROUNDS} rounds, seed ${SEED}`, function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('shop', { 'compose.yaml': YAML });
  });
  after(() => machine.dispose());

  const daemonPid = (): number =>
    (JSON.parse(machine.ok('tsswarm', 'status', '--format', 'json')) as { pid: number }).pid;
  const kill = async (pid: number): Promise<void> => {
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => (existsSync(`/proc/${pid}/ns`) && readStat(pid) !== 'Z' ? undefined : true),
      'the end of the daemon',
    );
  };
  /** An `up` that finds no node starts one itself, so that somebody may have been faster. */
  const restart = (): void => {
    const init = machine.run('tsswarm', 'init', '--no-systemd');
    const status = machine.run('tsswarm', 'status');
    assert.equal(
      status.code,
      0,
      `${init.stdout}${init.stderr}${status.stderr}${machine.run('tail', '-n', '20', join(machine.dir, 'state', 'tsswarmd.log')).stdout}`,
    );
  };
  /** Main processes of the containers that run now. */
  const mainPids = (): number[] => {
    const dir = join(machine.dir, 'run', 'engine', 'containers');
    return readdirSync(dir)
      .flatMap((id) => {
        try {
          const { pid } = JSON.parse(readFileSync(join(dir, id, 'state.json'), 'utf8')) as { pid: number };
          return existsSync(`/proc/${pid}`) && !existsSync(join(dir, id, 'exit.json')) ? [pid] : [];
        } catch {
          return [];
        }
      })
      .sort();
  };

  it('converges every time, keeps what runs, and leaves nothing', async function () {
    this.timeout(ROUNDS * 20_000 + 60_000);
    const random = seededRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const action = round % 2 === 0 ? ['up', '-d'] : ['down', '-t', '1'];
      const delay = Math.floor(random.next() * LATEST_KILL_MS);
      const context = `round ${round}: ${action.join(' ')}, killed after ${delay} ms`;
      const pid = daemonPid();
      const command = machine.start('tscompose', '-f', join(folder, 'compose.yaml'), ...action);
      const ended = new Promise((resolve) => command.once('exit', resolve));
      command.stdout.resume();
      command.stderr.resume();
      await new Promise((resolve) => setTimeout(resolve, delay));
      await kill(pid);
      restart();
      // A command whose request was taken goes on by itself when the daemon is back; one that was cut off says so.
      await ended;
      // What the user does then: the same again. It must end well whatever was half done.
      machine.composeOk(folder, ...action);
      if (action[0] === 'up') {
        const running = machine.composeOk(folder, 'ps', '-q').trim().split('\n');
        assert.equal(running.length, 4, context);
        const before = mainPids();
        assert.equal(before.length, 4, context);
        // With nothing under way a kill touches no container.
        await kill(daemonPid());
        assert.deepEqual(mainPids(), before, context);
        restart();
        assert.deepEqual(mainPids(), before, context);
      } else {
        assert.deepEqual(mainPids(), [], context);
        const engine = (part: string): string[] => readdirSync(join(machine.dir, part));
        assert.deepEqual(engine('state/engine/containers'), [], context);
        assert.deepEqual(engine('run/engine/netns'), [], context);
        await eventually(
          () => (/tsv|ts-/.test(machine.inside(['ip', '-o', 'link'])) ? undefined : true),
          `${context}: no link is left`,
        );
        assert.doesNotMatch(machine.inside(['nft', 'list', 'ruleset']), /8080/, context);
        assert.ok(!readFileSync('/proc/mounts', 'utf8').includes(join(machine.dir, 'state')), context);
      }
    }
    machine.composeOk(folder, 'down', '-v', '-t', '1');
  });
});

function readStat(pid: number): string {
  try {
    return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
  } catch {
    return 'Z';
  }
}
