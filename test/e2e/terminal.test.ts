import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { Machine, eventually } from './machine.ts';

const YAML = `services:
  web:
    image: busybox
    command: sleep 1000
    init: true
  stubborn:
    image: busybox
    command: sh -c "trap 'echo not yet' TERM; echo up; while true; do sleep 0.1; done"
    stop_grace_period: 10m
`;

/** A command at a terminal of its own (script(1)), with what it has shown. */
interface AtTerminal {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  shown(): string;
  type(text: string): void;
  sees(text: string): Promise<void>;
}

describe('at a terminal', function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('shop', { 'compose.yaml': YAML });
    machine.composeOk(folder, 'up', '-d', 'web');
  });
  after(() => machine.dispose());

  function start(...argv: readonly string[]): AtTerminal {
    const command = ['tscompose', '-f', `${folder}/compose.yaml`, ...argv].join(' ');
    const child = machine.start('script', '-qec', `stty rows 33 cols 101; ${command}`, '/dev/null');
    let shown = '';
    child.stdout.on('data', (data: Buffer) => (shown += data.toString()));
    return {
      child,
      ended: new Promise((resolve) => child.once('exit', (code) => resolve(code))),
      shown: () => shown,
      type: (text) => child.stdin.write(text),
      sees: async (text) => {
        await eventually(() => (shown.includes(text) ? true : undefined), `"${text}" in ${JSON.stringify(shown)}`);
      },
    };
  }

  it('exec gives the command a terminal of the same size, and its exit code', async () => {
    const shell = start('exec', 'web', 'sh');
    await shell.sees('# ');
    shell.type('stty size; test -t 0 && echo a terminal; exit 9\n');
    assert.equal(await shell.ended, 9);
    assert.match(shell.shown(), /33 101\r\n/);
    assert.match(shell.shown(), /a terminal\r\n/);
  });

  it('run gives a new container a terminal, and shows its prompt', async () => {
    const shell = start('run', '--rm', 'web', 'sh');
    await shell.sees('# ');
    shell.type('echo $((40 + 2)); exit 5\n');
    assert.equal(await shell.ended, 5);
    assert.match(shell.shown(), /\r\n42\r\n/);
    assert.doesNotMatch(machine.composeOk(folder, 'ps', '-a'), /-run-/);
  });

  it('up redraws its progress in place; a second Ctrl-C does not wait for the grace', async () => {
    const up = start('up', 'stubborn');
    await up.sees('stubborn-1  | up');
    assert.match(up.shown(), /\[\+\] Running 1\/1\r\n/);
    up.type('\u0003');
    await up.sees('not yet');
    await up.sees('press Ctrl+C again to force');
    up.type('\u0003');
    assert.equal(await up.ended, 130);
    assert.match(up.shown(), /exited with code 137/);
    assert.equal(machine.composeOk(folder, 'ps', '-q', 'stubborn'), '');
  });
});
