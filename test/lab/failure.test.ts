import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

const web = (replicas: number): string => `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { replicas: ${replicas} }
`;
const AGENT = `services:
  agent:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { mode: global }
`;

describe('nodes that fail: three managers and two workers', function () {
  this.timeout(120_000);
  let lab: Lab;
  before(() => {
    lab = Lab.create('tsfl', 5);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
    const up = (name: string, yaml: string): void => {
      const folder = lab.machine(0).project(name, { 'compose.yaml': yaml });
      lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
    };
    up('shop', web(5));
    up('agents', AGENT);
  });
  after(() => lab.dispose());

  const { nodes, leader, tasks } = viewsOf(() => lab);
  const state = (index: number, via = 0): string | undefined =>
    nodes(via)
      .find((line) => line.startsWith(`m${index} `))
      ?.split(' ')[1];
  const becomes = (index: number, wanted: string) =>
    eventually(() => (state(index) === wanted ? true : undefined), `m${index} ${wanted}`);
  /** Nodes that the tasks of a project run on, in order. */
  const on = (project: string): string =>
    tasks(0)
      .filter(({ name, state: now }) => name.startsWith(`${project}-`) && now.startsWith('running'))
      .map(({ node }) => node)
      .sort()
      .join(' ');
  const runOn = (project: string, wanted: string | RegExp) =>
    eventually(
      () => ((typeof wanted === 'string' ? on(project) === wanted : wanted.test(on(project))) ? true : undefined),
      `${project} on ${String(wanted)}`,
      40_000,
    );
  /** Main processes of the containers on a machine, by the name of their container. */
  const processes = (index: number): ReadonlyMap<string, number> => {
    const dir = join(lab.machine(index).dir, 'run', 'engine', 'containers');
    const found = new Map<string, number>();
    for (const id of readdirSync(dir)) {
      if (!existsSync(join(dir, id, 'state.json')) || existsSync(join(dir, id, 'exit.json'))) continue;
      const { pid } = JSON.parse(readFileSync(join(dir, id, 'state.json'), 'utf8')) as { pid: number };
      const record = join(lab.machine(index).stateDir, 'engine', 'containers', id, 'container.json');
      // One that is on its way out may be gone by now.
      if (!existsSync(record) || !existsSync(`/proc/${pid}`)) continue;
      const { name } = JSON.parse(readFileSync(record, 'utf8')) as { name: string };
      found.set(name, pid);
    }
    return found;
  };
  const only = (found: ReadonlyMap<string, number>, project: string): string =>
    [...found].filter(([name]) => name.startsWith(`${project}-`)).join();
  const all = 'm0 m1 m2 m3 m4';

  it('a daemon that is killed and started again is missed by nobody', async () => {
    await runOn('shop', all);
    const before = processes(3);
    assert.equal(before.size, 2);
    await lab.kill(3);
    assert.deepEqual(processes(3), before, 'containers run on');
    lab.start(3);
    await becomes(3, 'Ready');
    assert.deepEqual(processes(3), before);
    assert.equal(on('shop'), all);
  });

  it('a daemon that stays away is down; others take over, and what was replaced ends when it is back', async () => {
    const agent = only(processes(3), 'agents');
    await lab.kill(3);
    await becomes(3, 'Down');
    await runOn('shop', /^(m[0124] ?){5}$/);
    assert.match(
      tasks(0).find(({ name, node }) => name.startsWith('agents-') && node === 'm3')?.state ?? '',
      /^unknown \(node down\)/,
    );
    assert.notEqual(only(processes(3), 'shop'), '', 'nobody has told it yet');
    lab.start(3);
    await becomes(3, 'Ready');
    await eventually(() => (only(processes(3), 'shop') === '' ? true : undefined), 'its container ended');
    assert.equal(only(processes(3), 'agents'), agent, 'what is still wanted runs on');
    assert.equal(on('agents'), all);
  });

  it('a machine that is switched off is down, and works again when it is switched on', async () => {
    await lab.powerOff(4);
    await becomes(4, 'Down');
    await runOn('shop', /^(m[0-3] ?){5}$/);
    lab.heal(4);
    lab.start(4);
    await becomes(4, 'Ready');
    // The manager learns only now that the container went with the machine; the next one waits for the restart delay.
    await eventually(() => (only(processes(4), 'agents') === '' ? undefined : true), 'its container started again');
    await runOn('agents', all);
  });

  it('a node whose daemon is stopped says so, and is up again when it is started', async () => {
    const before = processes(4);
    const pid = lab.machine(4).daemonPid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGTERM');
    await becomes(4, 'Down');
    assert.match(lab.machine(0).ok('tsswarm', 'node', 'inspect', 'm4'), /its daemon was stopped/);
    lab.start(4);
    await becomes(4, 'Ready');
    assert.deepEqual(processes(4), before);
  });

  it('a worker that is cut off starts again without any manager, and keeps what it runs', async () => {
    const before = processes(4);
    assert.notEqual(before.size, 0);
    lab.cut(4);
    await lab.kill(4);
    lab.start(4);
    assert.match(lab.machine(4).ok('tsswarm', 'status'), new RegExp(`Containers: ${before.size} running`));
    await becomes(4, 'Down');
    assert.deepEqual(processes(4), before);
    lab.heal(4);
    await becomes(4, 'Ready');
    assert.equal(only(processes(4), 'agents'), only(before, 'agents'));
  });

  it('pause keeps what runs, drain moves it, active takes it in again', async () => {
    const available = (availability: string) =>
      lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', availability, 'm3');
    available('pause');
    assert.match(on('agents'), /m3/);
    const folder = lab.machine(0).project('extra', { 'compose.yaml': web(8) });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
    assert.doesNotMatch(on('extra'), /m3/);
    available('drain');
    await runOn('agents', 'm0 m1 m2 m4');
    await eventually(() => (/m3/.test(on('shop')) ? undefined : true), 'nothing of the shop on m3');
    available('active');
    await runOn('agents', all);
    lab.machine(0).composeOk(folder, 'down');
  });

  it('rebalance moves containers to a node that is active again, and says what stays', async () => {
    const available = (availability: string) =>
      lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', availability, 'm3');
    available('drain');
    await eventually(() => (/m3/.test(on('shop')) ? undefined : true), 'nothing on m3');
    await runOn('shop', /^(m[0124] ?){5}$/);
    available('active');
    const plan = lab.machine(1).ok('tsswarm', 'rebalance', '--dry-run', 'shop_web');
    assert.match(plan, /shop_web\s+shop-web-\d\s+m\d\s+m3\nWould move 1 container of 1 service\.\n$/);
    assert.doesNotMatch(on('shop'), /m3/);
    const done = lab.machine(1).ok('tsswarm', 'rebalance');
    assert.match(done, /agents_agent stays as it is: it runs once on each node\nMoving 1 container of 1 service/);
    await runOn('shop', all);
    assert.match(lab.machine(0).ok('tsswarm', 'rebalance', 'shop_web'), /evenly spread\nNothing to move\.\n$/);
  });

  describe('fencing', () => {
    let shared: string;
    const lines = (): string[] => readFileSync(join(shared, 'log'), 'utf8').split('\n').filter(Boolean);
    const writer = (): string => on('writer');
    const index = (name: string): number => Number(name.slice(1));
    /** Writers in the order of their turns: one that comes twice has written beside another. */
    const turns = (): string[] => lines().filter((line, at, every) => line !== every[at - 1]);
    const assertNoOverlap = (): void => {
      assert.deepEqual(turns(), [...new Set(turns())], 'no writer comes back after another has written');
    };
    const another = async (than: string): Promise<string> =>
      eventually(() => {
        const now = writer();
        return now === '' || now === than ? undefined : now;
      }, `the writer elsewhere than on ${than}`);
    /** Everybody has written something more. */
    const moreWritten = async (): Promise<void> => {
      const before = lines().length;
      await eventually(() => (lines().length > before ? true : undefined), 'another line');
    };

    before(() => {
      shared = join(lab.machine(0).dir, 'shared');
      mkdirSync(shared);
      const yaml = `services:
  writer:
    image: busybox
    command: [sh, -c, 'while true; do echo $$HOSTNAME >> /data/log; sleep 0.02; done']
    stop_grace_period: 100ms
    volumes: ['${shared}:/data']
    deploy:
      x-fencing: always
      placement: { constraints: [node.role == worker] }
`;
      const folder = lab.machine(0).project('writer', { 'compose.yaml': yaml });
      lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
    });

    for (const [what, begin, end] of [
      ['is cut off', (at: number) => lab.cut(at), (at: number) => lab.heal(at)],
      [
        'is cut off and whose daemon is dead',
        async (at: number) => {
          lab.cut(at);
          await lab.kill(at);
        },
        (at: number) => {
          lab.heal(at);
          lab.start(at);
        },
      ],
      [
        'hears nobody for its daemon is held up',
        (at: number) => void process.kill(lab.machine(at).daemonPid() ?? 0, 'SIGSTOP'),
        (at: number) => void process.kill(lab.machine(at).daemonPid() ?? 0, 'SIGCONT'),
      ],
    ] as const) {
      it(`a container on a node that ${what} has ended before another one begins`, async () => {
        await moreWritten();
        const first = writer();
        await begin(index(first));
        const second = await another(first);
        await moreWritten();
        assertNoOverlap();
        await end(index(first));
        await becomes(index(first), 'Ready');
        await moreWritten();
        assert.equal(writer(), second);
        assertNoOverlap();
      });
    }

    it('a node that is back as soon as it is down makes no second one either', async () => {
      const first = writer();
      lab.cut(index(first));
      await lab.kill(index(first));
      await becomes(index(first), 'Down');
      lab.heal(index(first));
      lab.start(index(first));
      await becomes(index(first), 'Ready');
      await eventually(() => (writer() === '' ? undefined : true), 'a writer');
      await moreWritten();
      assertNoOverlap();
    });

    it('the loss of the leader ends nothing', async () => {
      const before = writer();
      const process = only(processes(index(before)), 'writer');
      const lost = leader(0) ?? 0;
      await lab.powerOff(lost);
      const via = [0, 1, 2].find((one) => one !== lost) ?? 0;
      await eventually(() => leader(via), 'another leader');
      await eventually(() => (state(lost, via) === 'Down' ? true : undefined), 'the old one down');
      assert.equal(only(processes(index(before)), 'writer'), process);
      lab.heal(lost);
      lab.start(lost);
      await becomes(lost, 'Ready');
    });
  });
});
