import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

const YAML = `services:
  shell:
    image: busybox
    command: [sh]
    tty: true
    stdin_open: true
    stop_grace_period: 100ms
  reader:
    image: busybox
    ports: ["8080:80", "127.0.0.1:5353:53/udp"]
    command: [sh, -c, "while read line; do echo got $$line; done; echo the end"]
    stdin_open: true
    stop_grace_period: 100ms
  writer:
    image: busybox
    command: [sh, -c, "echo kept > /data/file; echo own > /file"]
    volumes: ["data:/data"]
volumes: {data: }
`;

describe('in and around containers', function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    folder = machine.project('shop', { 'compose.yaml': YAML, 'given/a': 'A', 'given/deep/b': 'B' });
    machine.composeOk(folder, 'up', '-d');
  });
  after(() => machine.dispose());

  const compose = (...argv: readonly string[]): string => machine.composeOk(folder, ...argv);
  const begin = (child: ChildProcess) => {
    let shown = '';
    child.stdout?.on('data', (data: Buffer) => (shown += String(data)));
    return {
      ended: new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code))),
      type: (text: string) => child.stdin?.write(text),
      end: () => child.stdin?.end(),
      shown: () => shown,
      /** Ends the command; what it was attached to goes on. */
      kill: () => void child.kill('SIGKILL'),
      sees: (text: string) =>
        eventually(() => (shown.includes(text) ? true : undefined), `"${text}" in ${JSON.stringify(shown)}`),
    };
  };
  const started = (...argv: readonly string[]) =>
    begin(machine.start('tscompose', '-f', join(folder, 'compose.yaml'), ...argv));

  it('attaches to a container, and leaves it alone when the keys are typed', async () => {
    const line = `tscompose -f ${folder}/compose.yaml attach shell`;
    const session = begin(machine.start('script', '-qec', line, '/dev/null'));
    session.type('echo $((40 + 2))\n');
    await session.sees('42');
    session.type('\u0010\u0011');
    assert.equal(await session.ended, 0);
    assert.equal(compose('exec', '-T', 'shell', 'echo', 'alive'), 'alive\n');
    const again = begin(machine.start('script', '-qec', `${line} --detach-keys ctrl-x`, '/dev/null'));
    again.type('echo $((50 + 1))\n');
    await again.sees('51');
    again.type('exit 6\n');
    assert.equal(await again.ended, 6, 'the exit code of the process');
  });

  it('gives an attached container lines, and does not close its input when it leaves', async () => {
    const session = started('attach', 'reader');
    session.type('one\n');
    await session.sees('got one');
    session.end();
    const other = started('attach', '--no-stdin', '--sig-proxy=false', 'reader');
    const second = started('attach', 'reader');
    // Only what is said after one has attached is seen.
    await eventually(() => {
      if (other.shown().includes('got two') && second.shown().includes('got two')) return true;
      second.type('two\n');
      return undefined;
    }, 'both to see what the container says');
    for (const one of [session, other, second]) {
      one.kill();
      await one.ended;
    }
    assert.doesNotMatch(compose('logs', 'reader'), /the end/);
  });

  it('copies into and out of containers that run, and of one that has ended', () => {
    compose('cp', 'given', 'reader:/tmp/new');
    assert.equal(compose('exec', '-T', 'reader', 'cat', '/tmp/new/deep/b', '/tmp/new/a'), 'BA');
    compose('cp', 'writer:/data/file', 'from-volume');
    compose('cp', 'writer:/file', '.');
    assert.equal(readFileSync(join(folder, 'from-volume'), 'utf8'), 'kept\n');
    assert.equal(readFileSync(join(folder, 'file'), 'utf8'), 'own\n');
    compose('cp', 'given/a', 'writer:/data/later');
    compose('cp', 'writer:/data/.', 'all');
    assert.equal(readFileSync(join(folder, 'all/later'), 'utf8'), 'A');
  });

  it('keeps owners and modes as it is asked to', () => {
    machine.ok('sh', '-c', `cd ${folder} && echo x > owned && chown 1234:2345 owned && chmod 4750 owned`);
    compose('cp', 'owned', 'reader:/tmp/plain');
    compose('cp', '-a', 'owned', 'reader:/tmp/kept');
    const seen = compose('exec', '-T', 'reader', 'stat', '-c', '%a %u:%g', '/tmp/plain', '/tmp/kept');
    assert.equal(seen, '4750 0:0\n4750 1234:2345\n');
  });

  it('refuses an archive on a terminal, and one that is none', () => {
    const shown = machine.run('script', '-qec', `tscompose -f ${folder}/compose.yaml cp reader:/tmp -`, '/dev/null');
    assert.match(shown.stdout, /it is an archive, and this is a terminal/);
    const bad = machine.runWith({ cwd: folder, input: 'no archive' }, 'tscompose', 'cp', '-', 'reader:/tmp');
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /reading the archive: it ends in the middle/);
  });

  it('says where ports are published', () => {
    assert.equal(compose('port', 'reader', '80'), '0.0.0.0:8080\n');
    assert.equal(compose('port', '--protocol', 'udp', 'reader', '53'), '127.0.0.1:5353\n');
    const { code, stderr } = machine.compose(folder, 'port', 'reader', '81');
    assert.equal(code, 1);
    assert.match(stderr, /port 81\/tcp of shop-reader-1: it is not published/);
  });

  it('waits for the end of containers, and ends as they do', async () => {
    assert.match(compose('wait', 'writer'), /^container "[0-9a-f]{64}" exited with status code 0\n$/);
    compose('up', '-d', 'shell');
    const waiting = started('wait', 'shell', 'writer');
    await waiting.sees('exited with status code 0');
    const session = begin(
      machine.start('script', '-qec', `tscompose -f ${folder}/compose.yaml attach shell`, '/dev/null'),
    );
    session.type('exit 7\n');
    assert.equal(await session.ended, 7);
    assert.equal(await waiting.ended, 7);
  });

  it('scales', () => {
    compose('scale', 'shell=3');
    assert.equal(compose('ps', '-q', 'shell').trim().split('\n').length, 3);
    compose('scale', 'shell=1');
    assert.equal(compose('ps', '-q', 'shell').trim().split('\n').length, 1);
  });

  it('tells what happens to containers, in order', async () => {
    const events = started('events', '--json', 'writer');
    const past = compose('events', '--since', '10m', '--until', '0s', 'writer');
    assert.match(past, / container create .*\n.* container start .*\n.* container die .*exitCode=0/);
    compose('restart', 'writer');
    await events.sees('"start"');
    await events.sees('"die"');
    events.kill();
    await events.ended;
  });
});
