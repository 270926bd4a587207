import assert from 'node:assert/strict';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

const SHOP = `name: shop
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo hello from $$HOSTNAME; echo oops >&2; i=0; while sleep 0.2; do i=$$((i+1)); echo tick $$i; done"]
    stop_grace_period: 100ms
    deploy: { replicas: 5 }
`;

/** What a command says as it goes on. */
class Running {
  readonly #child: ChildProcessWithoutNullStreams;
  stdout = '';
  stderr = '';
  readonly exit: Promise<number>;

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stdout.on('data', (data: Buffer) => (this.stdout += String(data)));
    child.stderr.on('data', (data: Buffer) => (this.stderr += String(data)));
    this.exit = new Promise((resolve) => child.once('exit', (code) => resolve(code ?? -1)));
  }

  says(pattern: RegExp): Promise<true> {
    return eventually(() => (pattern.test(this.stdout) ? true : undefined), `"${pattern.source}" in ${this.stdout}`);
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  interrupt(): void {
    // The child is nsenter, which becomes the command.
    this.#child.kill('SIGINT');
  }
}

describe('tasks on any node, through any manager', function () {
  let lab: Lab;
  const { tasks } = viewsOf(() => lab);
  let folder = '';
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsany', 5);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
    folder = lab.machine(0).project('shop', { 'compose.yaml': SHOP });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const compose = (via: number, ...argv: readonly string[]) => lab.machine(via).run('tscompose', '-p', 'shop', ...argv);
  const begin = (via: number, ...argv: readonly string[]): Running =>
    new Running(lab.machine(via).start('tscompose', '-p', 'shop', ...argv));
  /** Number of the container on a node. */
  const slotOn = (node: string): string => {
    const found = tasks().find((task) => task.node === node && task.state.startsWith('running'));
    assert.ok(found, `a task on ${node}`);
    return /web-(\d+)$/.exec(found.name)?.[1] ?? '';
  };

  it('shows the logs of all, from each manager', async () => {
    const ticked = (): true | undefined =>
      (compose(0, 'logs', '--no-color').stdout.match(/\| tick 4$/gm)?.length ?? 0) === 5 ? true : undefined;
    await eventually(ticked, 'ticks of all');
    for (const via of [0, 1, 2]) {
      const { code, stdout, stderr } = compose(via, 'logs', '--no-color');
      assert.equal(code, 0, stderr);
      for (const slot of [1, 2, 3, 4, 5]) assert.match(stdout, new RegExp(`^web-${slot}  \\| hello from `, 'm'));
      assert.equal(stderr.match(/^web-\d  \| oops$/gm)?.length, 5);
    }
    const { stdout } = compose(1, 'logs', '--no-color', '--timestamps', '--tail', '3');
    const times = [...stdout.matchAll(/\| (\S+Z) tick/g)].map(([, time]) => time);
    assert.equal(times.length, 15);
    assert.deepEqual(times, times.toSorted(), 'in the order of time');
  });

  it('knows the containers of all', () => {
    const { stdout } = compose(2, 'ps');
    assert.equal(stdout.match(/"sh -c /g)?.length, 5, stdout);
  });

  it('executes on a worker: input, output, exit code', () => {
    for (const node of ['m1', 'm3', 'm4']) {
      const index = slotOn(node);
      const echo = lab
        .machine(2)
        .runWith(
          { input: 'abc' },
          'tscompose',
          '-p',
          'shop',
          'exec',
          '-T',
          '--index',
          index,
          'web',
          'sh',
          '-c',
          'cat; echo err >&2; exit 3',
        );
      assert.deepEqual(echo, { code: 3, stdout: 'abc', stderr: 'err\n' });
    }
  });

  it('ends what it executes when the caller is interrupted', async () => {
    const index = slotOn('m3');
    const session = begin(
      1,
      'exec',
      '-T',
      '--index',
      index,
      'web',
      'sh',
      '-c',
      'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done',
    );
    await session.says(/ready/);
    session.interrupt();
    assert.equal(await session.exit, 9);
    assert.match(session.stdout, /caught/);
  });
});
