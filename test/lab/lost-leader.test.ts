import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

/** A command has started by then. */
const STARTED_MS = 1_000;

describe('a leader that is lost while it does what it was asked for', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tslab', 3);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const { nodes, leader } = viewsOf(() => lab);
  /**
   * Types a command at the leader, which nobody hears.
   * @param until 'ended': the command has; 'deposed': the leader knows that it leads no more
   * @returns how it ended, and what was printed
   */
  const typed = async (until: 'ended' | 'deposed', ...argv: readonly string[]): Promise<string> => {
    const at = leader(0) ?? -1;
    const placement = `deploy: {placement: {constraints: [node.hostname==m${at}]}}`;
    const file = `services: {one: {image: busybox, command: [sleep, infinity], stop_grace_period: 100ms, ${placement}}}`;
    // It waits for its file: its own start takes none of the time that the leader still takes itself for one.
    const command = lab.machine(at).start('tscompose', '-p', 'late', '-f', '-', ...argv);
    await setTimeout(STARTED_MS);
    lab.cut(at);
    command.stdin?.end(file);
    let said = '';
    for (const stream of [command.stdout, command.stderr])
      stream.on('data', (data: Buffer) => (said += data.toString()));
    const ended = new Promise((resolve) => command.once('close', resolve));
    if (until === 'ended') await ended;
    else await eventually(() => (leader(at) === undefined ? true : undefined), 'the leader to know it');
    lab.heal(at);
    const outcome = `${String(await ended)} ${said}`;
    await eventually(() => (leader(at) === undefined ? undefined : true), 'a leader');
    await eventually(() => (nodes(at).every((line) => line.includes(' Ready ')) ? true : undefined), 'all to be back');
    return outcome;
  };

  it('costs no command that may be given twice: the next one is asked', async () => {
    assert.match(await typed('deposed', 'up', '-d'), /^0 [^]*Container late-one-1 {2}Started/);
    assert.match(await typed('deposed', 'down'), /^0 [^]*Container late-one-1 {2}Removed/);
  });

  it('leaves who asked for something else to look', async () => {
    assert.match(await typed('deposed', 'up', '-d'), /^0 /);
    assert.match(
      await typed('ended', 'up', '-d', '--force-recreate'),
      /^1 error: [^]*lost the leadership\nhint: see whether it was done/,
    );
  });
});
