import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

const WEB = `services:
  web:
    image: busybox
    init: true
    command: sh -c 'echo run; [ -e /data/mended ] && exec sleep 1000; exit 3'
    restart: always
    stop_grace_period: 0s
    volumes: [./data:/data]
`;

describe('a container that crashes again and again', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());
  /** When the runs of the container began, as its log says; one log for all of them. */
  const starts = (folder: string): number[] =>
    machine
      .composeOk(folder, 'logs', '-t', '--no-log-prefix', 'web')
      .trim()
      .split('\n')
      .filter((line) => line.endsWith(' run'))
      .map((line) => Date.parse(line.split(' ')[0] ?? ''));
  const history = (): number => machine.ok('tsswarm', 'ps', '-a', '-q').trim().split('\n').length;

  it('is started later and later, and what it was is remembered up to a limit', async () => {
    const folder = machine.project('loop', { 'compose.yaml': WEB });
    machine.composeOk(folder, 'up', '-d');
    const times = await eventually(() => {
      const found = starts(folder);
      return found.length >= 6 ? found : undefined;
    }, 'six runs');
    // 100 ms, doubled each time: each wait is at least as long as it should be.
    const waits = times.slice(1, 6).map((time, index) => time - (times[index] ?? 0));
    for (const [index, wait] of waits.entries()) assert.ok(wait >= 100 * 2 ** index, `wait ${index} was ${wait} ms`);
    await eventually(
      () => (/Restarting in \d+ s/.test(machine.composeOk(folder, 'ps', '-a')) ? true : undefined),
      'ps',
    );
    await eventually(() => (history() === 5 ? true : undefined), 'five of them');
    assert.match(machine.ok('tsswarm', 'ps', '-a'), /loop-web-1 .* failed .* ago/);
    machine.ok('tsswarm', 'update', '--task-history-limit', '2');
    await eventually(() => (history() === 2 ? true : undefined), 'two of them');
    assert.equal(machine.run('ls', `${machine.stateDir}/engine/containers`).stdout.trim().split('\n').length, 1);
  });

  it('is the same container, with its files and log, and runs when it is mended', async () => {
    const folder = machine.project('loop', { 'compose.yaml': WEB, 'data/mended': '' });
    await eventually(() => (/ Up /.test(machine.composeOk(folder, 'ps')) ? true : undefined), 'the container up');
    assert.ok(starts(folder).length >= 7);
    machine.composeOk(folder, 'down');
  });
});
