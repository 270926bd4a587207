import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

const WEB = `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { replicas: 5 }
`;

describe('a cluster of three managers and two workers', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tslab', 5);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const { nodes, leader, tasks, running } = viewsOf(() => lab);
  const refused = (index: number, message: RegExp, ...argv: readonly string[]): void => {
    const { code, stderr, stdout } = lab.machine(index).run('tsswarm', ...argv);
    assert.notEqual(code, 0, `${argv.join(' ')}: ${stdout}`);
    assert.match(stderr, message);
    assert.match(stderr, /\nhint: ./);
  };
  const token = (role: string): string => lab.machine(0).ok('tsswarm', 'join-token', '-q', role).trim();

  it('is the same seen from each manager', async () => {
    for (const via of [0, 1, 2]) {
      await eventually(() => (nodes(via).every((line) => line.includes(' Ready ')) ? true : undefined), 'nodes ready');
      assert.deepEqual(nodes(via), [
        'm0 Ready Active Leader',
        'm1 Ready Active Reachable',
        'm2 Ready Active Reachable',
        'm3 Ready Active',
        'm4 Ready Active',
      ]);
    }
    refused(3, /it is a worker, not a manager/, 'node', 'ls');
  });

  it('takes a project from a manager that does not lead, and spreads it', () => {
    const folder = lab.machine(2).project('shop', { 'compose.yaml': WEB });
    lab.machine(2).composeOk(folder, 'up', '-d', '--wait');
    assert.deepEqual(running(1), ['m0', 'm1', 'm2', 'm3', 'm4']);
  });

  it('answers and takes changes when the leader was killed, and takes it back', async () => {
    await lab.kill(0);
    await eventually(
      () => (lab.machine(1).run('tsswarm', 'node', 'update', '--label-add', 'a=b', 'm1').code === 0 ? true : undefined),
      'a change that is accepted',
    );
    assert.notEqual(leader(2), 0);
    assert.equal(leader(1), leader(2));
    lab.start(0);
    await eventually(() => (nodes(0).includes('m0 Ready Active Reachable') ? true : undefined), 'the old leader back');
    assert.match(lab.machine(0).ok('tsswarm', 'node', 'inspect', 'm1'), /"a": "b"/);
    assert.deepEqual(running(0), ['m0', 'm1', 'm2', 'm3', 'm4'], 'containers ran on');
  });

  it('hands over when the leader is stopped', async () => {
    const before = leader(1) ?? -1;
    const other = before === 1 ? 2 : 1;
    const pid = lab.machine(before).daemonPid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGTERM');
    await eventually(() => (existsSync(`/proc/${pid}/ns/net`) ? undefined : true), 'the end of the daemon');
    assert.equal(lab.machine(other).run('tsswarm', 'node', 'ls').code, 0, 'somebody leads at once');
    lab.start(before);
  });

  it('says that a minority decides nothing, and goes on when it is healed', async () => {
    const before = leader(0) ?? -1;
    const others = [0, 1, 2].filter((index) => index !== before);
    lab.cut(before);
    const elsewhere = await eventually(() => leader(others[0] ?? 0), 'a leader on the other side');
    assert.notEqual(elsewhere, before);
    refused(before, /no manager leads|not the leader|lost|leader/, 'node', 'update', '--label-add', 'x=y', 'm1');
    lab.heal(before);
    await eventually(() => (leader(before) === leader(others[0] ?? 0) ? true : undefined), 'one leader for all');
    assert.doesNotMatch(lab.machine(before).ok('tsswarm', 'node', 'inspect', 'm1'), /"x": "y"/);
  });

  it('promotes and demotes', async () => {
    lab.machine(0).ok('tsswarm', 'node', 'promote', 'm3');
    await eventually(() => (nodes(0).includes('m3 Ready Active Reachable') ? true : undefined), 'a fourth manager');
    assert.equal(lab.machine(3).run('tsswarm', 'node', 'ls').code, 0);
    lab.machine(0).ok('tsswarm', 'node', 'demote', 'm3');
    await eventually(() => (nodes(0).includes('m3 Ready Active') ? true : undefined), 'a worker again');
    await eventually(() => (lab.machine(3).run('tsswarm', 'node', 'ls').code === 0 ? undefined : true), 'no manager');
  });

  it('demotes its leader, which becomes a worker, and promotes it again', async () => {
    const before = leader(0) ?? 0;
    const [other = 0] = [0, 1, 2].filter((index) => index !== before);
    lab.machine(other).ok('tsswarm', 'node', 'demote', `m${before}`);
    await eventually(() => {
      const { stderr } = lab.machine(before).run('tsswarm', 'node', 'ls');
      return /it is a worker, not a manager/.test(stderr) ? true : undefined;
    }, 'a worker');
    await eventually(
      () => (nodes(other).includes(`m${before} Ready Active`) ? true : undefined),
      'a node that is ready',
    );
    lab.machine(other).ok('tsswarm', 'node', 'promote', `m${before}`);
    await eventually(
      () => (nodes(other).includes(`m${before} Ready Active Reachable`) ? true : undefined),
      'a manager',
    );
  });

  it('drains a node', async () => {
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'drain', 'm4');
    await eventually(() => {
      const now = running(0);
      return now.length === 5 && !now.includes('m4') ? true : undefined;
    }, 'all tasks elsewhere');
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'active', 'm4');
  });

  it('runs a global service on each machine, and updates it there', async () => {
    const yaml = (version: string): string => `services:
  agent:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    environment: { VERSION: "${version}" }
    deploy: { mode: global, update_config: { parallelism: 2, monitor: 500ms } }
`;
    const folder = lab.machine(1).project('agents', { 'compose.yaml': yaml('1') });
    const agents = (): string =>
      tasks(0)
        .filter(({ name, state }) => name.startsWith('agents-') && state.startsWith('running'))
        .map(({ node }) => node)
        .sort()
        .join(' ');
    lab.machine(1).composeOk(folder, 'up', '-d', '--wait');
    assert.equal(agents(), 'm0 m1 m2 m3 m4');
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'drain', 'm4');
    await eventually(() => (agents() === 'm0 m1 m2 m3' ? true : undefined), 'the drained machine left');
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'active', 'm4');
    await eventually(() => (agents() === 'm0 m1 m2 m3 m4' ? true : undefined), 'the machine used again');
    lab.machine(1).project('agents', { 'compose.yaml': yaml('2') });
    const { code, stderr } = lab.machine(1).compose(folder, 'up', '-d');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Service agent {2}Updated/);
    assert.equal(agents(), 'm0 m1 m2 m3 m4');
    lab.machine(1).composeOk(folder, 'down');
  });

  it('replaces the tasks of a machine that is cut off, and ends them there when it is back', async () => {
    lab.cut(3);
    await eventually(() => (nodes(0).includes('m3 Down Active') ? true : undefined), 'the node down');
    await eventually(() => {
      const now = running(0);
      return now.length === 5 && !now.includes('m3') ? true : undefined;
    }, 'all tasks elsewhere');
    lab.heal(3);
    await eventually(() => (nodes(0).includes('m3 Ready Active') ? true : undefined), 'the node back');
    await eventually(
      () => (lab.machine(3).ok('tsswarm', 'status').includes('Containers: 0 running') ? true : undefined),
      'its containers ended',
    );
  });

  it('refuses what would lose the quorum or the cluster, and says so', async () => {
    const down = leader(0) === 2 ? 1 : 2;
    await lab.kill(down);
    await eventually(
      () => (nodes(0).some((line) => line.startsWith(`m${down} `) && line.endsWith('Unreachable')) ? true : undefined),
      'an unreachable manager',
    );
    const other = [0, 1, 2].find((index) => index !== down && index !== leader(0)) ?? 0;
    refused(0, /quorum/, 'node', 'demote', `m${other}`);
    refused(other, /quorum/, 'leave');
    lab.start(down);
    await eventually(
      () => (nodes(0).filter((line) => / (Leader|Reachable)$/.test(line)).length === 3 ? true : undefined),
      'three managers',
    );
    refused(0, /it is not down/, 'node', 'rm', 'm3');
  });

  it('lets a worker leave, and join again with the token of the day only', async () => {
    const old = token('worker');
    lab.machine(4).ok('tsswarm', 'leave');
    await eventually(() => (nodes(0).some((line) => line.startsWith('m4 ')) ? undefined : true), 'one node less');
    await eventually(() => (running(0).length === 5 ? true : undefined), 'its tasks elsewhere');
    const join = (text: string, ...flags: string[]): string[] => ['join', '--no-systemd', '--token', text, ...flags];
    refused(4, /malformed/, ...join('SWMTKN-1-abc-def', lab.address(0)));
    refused(4, /token is wrong/, ...join(`${old.slice(0, -1)}${old.endsWith('x') ? 'y' : 'x'}`, lab.address(0)));
    refused(4, /EHOSTUNREACH|ETIMEDOUT/, ...join(old, '10.77.0.99'));
    const manager = token('manager');
    refused(4, /cannot reach "10.77.0.98:2377"/, ...join(manager, '--advertise-addr', '10.77.0.98', lab.address(0)));
    assert.ok(!nodes(0).some((line) => line.startsWith('m4 ')), 'a join that failed leaves no node behind');
    lab.machine(0).ok('tsswarm', 'join-token', '--rotate', 'worker');
    refused(4, /token was rotated/, ...join(old, lab.address(0)));
    assert.notEqual(token('worker'), old);
    lab.join(4, token('worker'), 1);
    await eventually(() => (nodes(0).includes('m4 Ready Active') ? true : undefined), 'the node again');
    refused(4, /already part of one/, ...join(token('worker'), lab.address(0)));
  });

  it('has everything after all machines were switched off at once', async () => {
    await Promise.all([0, 1, 2, 3, 4].map((index) => lab.kill(index)));
    for (const index of [0, 1, 2, 3, 4]) lab.start(index);
    await eventually(() => leader(1), 'a leader');
    assert.match(lab.machine(0).ok('tsswarm', 'node', 'inspect', 'm1'), /"a": "b"/);
    await eventually(() => (running(0).length === 5 ? true : undefined), 'all tasks running');
    const folder = lab.machine(0).project('shop', { 'compose.yaml': WEB });
    lab.machine(0).composeOk(folder, 'down');
    assert.deepEqual(tasks(0), []);
  });
});
