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
  const { nodes, tasks } = viewsOf(() => lab);
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
    const found = tasks(1).find((task) => task.node === node && task.state.startsWith('running'));
    assert.ok(found, `a task on ${node}`);
    return /web-(\d+)$/.exec(found.name)?.[1] ?? '';
  };

  const isOn = (slot: number, node: string): boolean =>
    tasks(1).some((task) => task.name === `shop-web-${slot}` && task.node === node);

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
    // A line may have come while they were read.
    assert.ok(times.length >= 15 && times.length <= 20, stdout);
    assert.deepEqual(times, times.toSorted(), 'in the order of time');
  });

  it('is nothing for workers: their sockets lead to no other node', () => {
    for (const argv of [['logs'], ['exec', 'web', 'true'], ['cp', 'web:/etc/passwd', '.'], ['stats', '--no-stream']]) {
      const { code, stderr } = compose(3, ...argv);
      assert.equal(code, 1);
      assert.match(stderr, /it is a worker, not a manager/);
    }
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

  it('gives what it executes a terminal, with its size', () => {
    const index = slotOn('m4');
    const line = `stty rows 33 cols 77; tscompose -p shop exec --index ${index} web sh -c 'test -t 0 && stty size; exit 4'`;
    // script(1) makes the terminal.
    const { code, stdout } = lab.machine(1).run('script', '-qec', line, '/dev/null');
    assert.equal(code, 4);
    assert.match(stdout, /33 77/);
  });

  it('copies files and folders both ways, and archives through pipes', () => {
    const machine = lab.machine(1);
    const index = slotOn('m3');
    const files = machine.project('files', { 'a/one.txt': 'one', 'a/sub/two.txt': 'two' });
    const cp = (...argv: readonly string[]) =>
      machine.runWith({ cwd: files }, 'tscompose', '-p', 'shop', 'cp', '--index', index, ...argv);
    const inside = (line: string): string =>
      machine.ok('tscompose', '-p', 'shop', 'exec', '-T', '--index', index, 'web', 'sh', '-c', line);
    const copies = (...argv: readonly string[]): void => {
      const { code, stderr } = cp(...argv);
      assert.equal(code, 0, stderr);
    };
    copies('a/one.txt', 'web:/tmp/first.txt');
    copies('a', 'web:/tmp');
    copies('a/.', 'web:/tmp/content');
    assert.equal(inside('cat /tmp/first.txt /tmp/a/sub/two.txt /tmp/content/one.txt'), 'onetwoone');
    copies('web:/tmp/a', 'back');
    copies('web:/tmp/a/one.txt', 'back/renamed.txt');
    assert.equal(machine.ok('sh', '-c', `cd ${files} && cat back/sub/two.txt back/renamed.txt`), 'twoone');
    machine.ok(
      'sh',
      '-c',
      `cd ${files} && tscompose -p shop cp --index ${index} web:/tmp/a - | tar x -O a/one.txt > out`,
    );
    machine.ok('sh', '-c', `cd ${files} && tar c -C a sub | tscompose -p shop cp --index ${index} - web:/tmp/content`);
    assert.equal(machine.ok('cat', `${files}/out`), 'one');
    assert.equal(inside('cat /tmp/content/sub/two.txt'), 'two');
    const big = 'head -c 20000000 /dev/urandom > big && tscompose -p shop cp --index';
    machine.ok(
      'sh',
      '-c',
      `cd ${files} && ${big} ${index} big web:/tmp/ && tscompose -p shop cp --index ${index} web:/tmp/big again && cmp big again`,
    );
    for (const [argv, message] of [
      [['web:/nowhere', 'x'], /there is no such file/],
      [['nowhere', 'web:/tmp'], /there is no such file/],
      [['a', 'web:/nowhere/deep'], /No such file/],
      [['a', 'web:/tmp/first.txt'], /cannot take its place/],
      [['a', 'b'], /neither is in a container/],
    ] as const) {
      const { code, stderr } = cp(...argv);
      assert.equal(code, 1, argv.join(' '));
      assert.match(stderr, message);
    }
  });

  it('confines what is copied to the container', () => {
    const machine = lab.machine(1);
    const index = slotOn('m4');
    const exec = (line: string): string =>
      machine.ok('tscompose', '-p', 'shop', 'exec', '-T', '--index', index, 'web', 'sh', '-c', line);
    exec(
      'mkdir -p /data /etc/x && ln -s /proc/1/root/.. /data/up && ln -s ../../../../../../etc /data/etc && echo inside > /etc/mark',
    );
    const files = machine.project('confined', { mark: 'new' });
    machine.ok('tscompose', '-p', 'shop', 'cp', '--index', index, `${files}/mark`, 'web:/data/etc/mark');
    assert.equal(exec('cat /etc/mark'), 'new', 'a link leads where it leads in the container');
    const { code, stderr } = machine.run(
      'tscompose',
      '-p',
      'shop',
      'cp',
      '--index',
      index,
      `${files}/mark`,
      'web:/data/up/x',
    );
    assert.equal(code, 1);
    assert.match(stderr, /symbolic links|No such file|no such file/i);
  });

  it('shows processes and what is used', () => {
    const top = compose(2, 'top').stdout.split('\n');
    assert.match(top[0] ?? '', /^SERVICE +# +UID +PID +PPID +C +STIME +TTY +TIME +CMD$/);
    assert.equal(top.filter((line) => /^web +\d +root .*sleep 0\.2$/.test(line)).length >= 4, true, top.join('\n'));
    const stats = compose(1, 'stats', '--no-stream', '--format', 'json').stdout.trim().split('\n');
    const rows = stats.map((line) => JSON.parse(line) as Record<string, string>);
    assert.deepEqual(
      rows.map(({ Name }) => Name).sort(),
      [1, 2, 3, 4, 5].map((n) => `shop-web-${n}`),
    );
    for (const row of rows) {
      assert.match(row['CPUPerc'] ?? '', /^\d+\.\d\d%$/);
      assert.match(row['MemUsage'] ?? '', /^[1-9][\d.]*(KiB|MiB) \/ /);
      assert.notEqual(row['PIDs'], '0');
    }
  });

  it('goes on with the logs and the news of a task that moves to another node', async () => {
    const logs = begin(1, 'logs', '-f', '--no-color', '--tail', '1');
    const events = begin(2, 'events', '--json');
    await logs.says(/web-\d {2}\| tick/);
    const slot = slotOn('m4');
    const before = logs.stdout.length;
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'drain', 'm4');
    await eventually(
      () => (new RegExp(`^web-${slot}  \\| hello from`, 'm').test(logs.stdout.slice(before)) ? true : undefined),
      'the first words of the replacement',
    );
    lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'active', 'm4');
    await events.says(new RegExp(`"die".*shop-web-${slot}"`));
    await events.says(new RegExp(`"start".*shop-web-${slot}"`));
    for (const one of [logs, events]) {
      one.interrupt();
      assert.equal(await one.exit, 130);
    }
  });

  it('follows on when the manager on the way dies, and ends what goes through it', async () => {
    // A worker is connected to one of the managers: each of them is on the way of some.
    const logs = begin(1, 'logs', '-f', '--no-color', '--tail', '0');
    await logs.says(/tick/);
    await lab.kill(0);
    const seen = new Map([1, 2, 3, 4, 5].map((slot) => [slot, logs.stdout.length]));
    await eventually(() => {
      for (const [slot, at] of seen) {
        if (new RegExp(`^web-${slot} .*tick`, 'm').test(logs.stdout.slice(at)) || isOn(slot, 'm0')) seen.delete(slot);
      }
      return seen.size === 0 ? true : undefined;
    }, 'ticks of all that can be reached');
    logs.interrupt();
    await logs.exit;
    const index = slotOn('m3');
    assert.equal(compose(2, 'exec', '-T', '--index', index, 'web', 'echo', 'there').stdout, 'there\n');
    lab.start(0);
  });

  it('says which tasks cannot be reached, and shows the others', async () => {
    // The manager that was killed before may still be starting.
    await eventually(() => (compose(2, 'logs', '--no-color', '--tail', '1').code === 0 ? true : undefined), 'all logs');
    const slot = slotOn('m3');
    lab.cut(3);
    const exec = begin(1, 'exec', '-T', '--index', slot, 'web', 'true');
    const { code, stdout, stderr } = compose(2, 'logs', '--no-color', '--tail', '1');
    assert.equal(code, 1, stderr);
    assert.match(stderr, new RegExp(`the log of web-${slot}: `));
    assert.match(stderr, new RegExp(`not all are there, without web-${slot}$`, 'm'));
    for (const other of [1, 2, 3, 4, 5])
      if (String(other) !== slot) assert.match(stdout, new RegExp(`^web-${other} `, 'm'));
    assert.equal(await exec.exit, 1);
    assert.match(exec.stderr, /reaching task "shop-web-\d" on node "m3"|talking to node/);
    lab.heal(3);
    await eventually(
      () => (compose(2, 'logs', '--no-color', '--tail', '1').code === 0 ? true : undefined),
      'all logs again',
    );
  });

  it('reaches a node that was cut off through every manager, as soon as it is back', async function () {
    this.timeout(180_000);
    const up = lab.machine(1).project('agents', {
      'compose.yaml':
        'services: { agent: { image: busybox, command: [sleep, infinity], stop_grace_period: 100ms, deploy: { mode: global } } }\n',
    });
    lab.machine(1).composeOk(up, 'up', '-d', '--wait');
    const agentOn = (node: string) =>
      tasks(1).find((task) => task.name.startsWith('agents-') && task.node === node && /^running/.test(task.state));
    const becomes = (node: string, state: string): Promise<true> =>
      eventually(() => (nodes(1).includes(`${node} ${state} Active`) ? true : undefined), `${node} ${state}`, 40_000);
    for (const at of [3, 4]) {
      const node = `m${at}`;
      lab.cut(at);
      await becomes(node, 'Down');
      lab.heal(at);
      await becomes(node, 'Ready');
      const agent = await eventually(() => agentOn(node), `the agent on ${node}`, 20_000);
      const index = /-(\d+)$/.exec(agent.name)?.[1] ?? '';
      const asked = [0, 1, 2].map(
        (via) =>
          new Running(
            lab.machine(via).start('tscompose', '-p', 'agents', 'exec', '-T', '--index', index, 'agent', 'hostname'),
          ),
      );
      for (const one of asked) assert.equal(await one.exit, 0, one.stderr);
    }
  });
});
