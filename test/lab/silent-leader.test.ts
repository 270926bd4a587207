import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

describe('a leader that falls silent when it is asked', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tslab', 3);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const { nodes, leader } = viewsOf(() => lab);
  /** Stops the leader's process, types a command at another manager, and lets it go on. @returns what was printed */
  const typed = async (...argv: readonly string[]): Promise<string> => {
    const silent = leader(0) ?? -1;
    const via = (silent + 1) % 3;
    const placement = `deploy: {placement: {constraints: [node.hostname==m${via}]}}`;
    const folder = lab.machine(via).project('late', {
      'compose.yaml': `services: {one: {image: busybox, command: [sleep, infinity], stop_grace_period: 100ms, ${placement}}}`,
    });
    const pid = lab.machine(silent).daemonPid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGSTOP');
    try {
      return lab.machine(via).composeOk(folder, ...argv);
    } finally {
      process.kill(pid, 'SIGCONT');
      await eventually(
        () => ([0, 1, 2].every((at) => nodes(at).every((line) => line.includes(' Ready '))) ? true : undefined),
        'all to be back',
      );
    }
  };

  it('costs no command: the next one is asked again', async () => {
    await typed('up', '-d');
    assert.match(lab.machine(0).ok('tscompose', 'ls', '-q'), /late/);
    await typed('down');
    assert.doesNotMatch(lab.machine(0).ok('tscompose', 'ls', '-q'), /late/);
  });
});
