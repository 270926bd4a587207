import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

describe('managers that die for good', function () {
  this.timeout(180_000);
  let lab: Lab;
  before(() => {
    lab = Lab.create('tsupk', 4);
    lab.form(4);
  });
  after(() => lab.dispose());

  /** What a manager says of each: its name, whether it is there, and its part in the group. */
  const managers = (via = 0): string =>
    lab
      .machine(via)
      .run('tsswarm', 'node', 'ls')
      .stdout.split('\n')
      .flatMap((line) => {
        const [, name, state] = /\s(m\d)\s+(\w+)/.exec(line) ?? [];
        const [part = 'none'] = /Leader|Reachable|Unreachable/.exec(line) ?? [];
        return name === undefined ? [] : [`${name} ${state} ${part}`];
      })
      .sort()
      .join();
  const until = (expected: string, what: string) =>
    eventually(() => (managers() === expected ? true : undefined), `${what}: ${expected}`, 60_000);
  const changes = (): number => lab.machine(0).run('tsswarm', 'node', 'update', '--label-add', 'a=b', 'm1').code;
  const all = 'm0 Ready Leader,m1 Ready Reachable,m2 Ready Reachable,m3 Ready Reachable';

  it('keep their vote unless the cluster says otherwise', async () => {
    await until(all, 'four managers');
    assert.match(
      lab.machine(0).run('tsswarm', 'update', '--remove-dead-managers', '1s').stderr,
      /the time after which a silent manager loses its vote to 1s: expected 10s to a year, or 0s for never/,
    );
    lab.machine(0).ok('tsswarm', 'update', '--remove-dead-managers', '10s');
  });

  it('lose it then, and two of the three that are left can decide', async () => {
    await lab.kill(3);
    await until('m0 Ready Leader,m1 Ready Reachable,m2 Ready Reachable,m3 Down none', 'the dead one is out');
    await lab.kill(2);
    await until('m0 Ready Leader,m1 Ready Reachable,m2 Down Unreachable,m3 Down none', 'another one is dead');
    assert.equal(changes(), 0, 'with four votes, two would decide nothing');
  });

  it('find their way back when they were not dead after all', async () => {
    for (const index of [2, 3]) lab.start(index);
    await until(all, 'all are back');
    lab.machine(3).ok('tsswarm', 'node', 'ls');
  });

  it('also when they ran on all the time and were only cut off', async () => {
    lab.cut(3);
    await until('m0 Ready Leader,m1 Ready Reachable,m2 Ready Reachable,m3 Down none', 'the one that is cut off is out');
    lab.heal(3);
    await until(all, 'it is back, though nobody told it that it was out');
  });

  it('are out of Raft too when their node is removed while they are down', async () => {
    lab.machine(0).ok('tsswarm', 'update', '--remove-dead-managers', '0s');
    await lab.kill(3);
    await until('m0 Ready Leader,m1 Ready Reachable,m2 Ready Reachable,m3 Down Unreachable', 'one is down');
    lab.machine(0).ok('tsswarm', 'node', 'rm', '--force', 'm3');
    await lab.kill(2);
    await until('m0 Ready Leader,m1 Ready Reachable,m2 Down Unreachable', 'one is gone, another down');
    assert.equal(changes(), 0, 'two of three decide');
  });
});
