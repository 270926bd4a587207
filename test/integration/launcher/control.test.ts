import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { join } from 'node:path';
import { encodeFrame } from '../../../node-engine/launcher/frames.ts';
import { attachTo, reopenLog, signalContainer, waitForExit } from '../../../node-engine/launcher/index.ts';
import type { Container } from './fixture.ts';
import { LauncherFixture, OutputReader, collect, eventually } from './fixture.ts';

describe('a running container', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  describe('with stdin', () => {
    it('takes what attached sessions write, and its end', async () => {
      const container = fixture.container(['cat']);
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      await session.write(Buffer.from('one\n'));
      const output = new OutputReader(session.output);
      equal(await output.until('one\n'), 'one\n');
      await session.write(Buffer.from('two\n'));
      session.closeStdin();
      equal(await output.until('two\n'), 'two\n');
      equal((await session.exit).code, 0);
      deepEqual(await session.exit, await waitForExit(container.runDir));
      equal(await container.logged('stdout'), 'one\ntwo\n');
    });

    it('keeps it open when a session leaves', async () => {
      const container = fixture.container(['cat']);
      await container.start({ stdin: true });
      const first = await attachTo(container.runDir);
      await first.write(Buffer.from('first\n'));
      await new OutputReader(first.output).until('first\n');
      first.close();
      const second = await attachTo(container.runDir);
      await second.write(Buffer.from('second\n'));
      second.closeStdin();
      await second.exit;
      equal(await container.logged('stdout'), 'first\nsecond\n');
    });

    it('takes a flood without losing a byte or keeping it in memory', async () => {
      const container = fixture.script('md5sum');
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      const block = Buffer.alloc(256 * 1024, 'x');
      for (let sent = 0; sent < 64; sent++) await session.write(block);
      session.closeStdin();
      equal((await session.exit).code, 0);
      // md5 of 16 MiB of "x".
      const { createHash } = await import('node:crypto');
      const expected = createHash('md5')
        .update(Buffer.alloc(64 * block.length, 'x'))
        .digest('hex');
      match(await container.logged('stdout'), new RegExp(expected));
    });

    it('holds the flood back while nobody reads it', async () => {
      const container = fixture.script('read line; echo got; sleep 1000');
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      await session.write(Buffer.from('go\n'));
      await new OutputReader(session.output).until('got\n');
      const writes = Array.from({ length: 64 }, () => session.write(Buffer.alloc(256 * 1024)));
      // Another client is served meanwhile, and memory is bounded whatever was sent.
      await reopenLog(container.runDir);
      ok(supervisorKilobytes(container) < 1500, `${supervisorKilobytes(container)} kB`);
      await signalContainer(container.runDir, 'KILL');
      equal((await session.exit).code, 137);
      await Promise.allSettled(writes);
    });
  });

  it('without stdin throws away what is sent to it', async () => {
    const container = fixture.script('cat; echo end; sleep 1000');
    await container.start();
    const session = await attachTo(container.runDir);
    await session.write(Buffer.alloc(1024 * 1024));
    await eventually(async () => (await container.logged('stdout')) === 'end\n');
    session.kill('SIGKILL');
    equal((await session.exit).code, 137);
    equal(await container.logged('stdout'), 'end\n');
  });

  it('shows every session both streams from when it came on', async () => {
    const container = fixture.script('read a; echo out; echo err >&2; read b; echo late');
    await container.start({ stdin: true });
    const early = await attachTo(container.runDir);
    await early.write(Buffer.from('a\n'));
    const reader = new OutputReader(early.output);
    const seen = (await reader.until('r')).length + (await reader.until('\n')).length;
    ok(seen > 0);
    const late = await attachTo(container.runDir);
    await early.write(Buffer.from('b\n'));
    const [, output] = await Promise.all([reader.until('late\n'), collect(late.output)]);
    match(output.stdout, /late\n$/);
    equal(await container.logged('stderr'), 'err\n');
  });

  it('drops a session that does not read, and goes on', async () => {
    const container = fixture.script('read go; head -c 8000000 /dev/zero | tr "\\0" x; echo; echo done >&2');
    await container.start({ stdin: true });
    const socket = connect(join(container.runDir, 'control.sock'));
    await once(socket, 'connect');
    socket.pause();
    socket.write(encodeFrame('A'));
    socket.write(encodeFrame('I', Buffer.from('\n')));
    equal((await container.ended()).code, 0);
    equal(await container.logged('stderr'), 'done\n');
    socket.destroy();
  });

  it('is not harmed by what is no protocol', async () => {
    const container = fixture.container(['sleep', '1000']);
    await container.start();
    for (const nonsense of [
      'GET / HTTP/1.1\r\n\r\n',
      'A',
      'K\0\0\0',
      'K\0\0\0\x02\x09\x09',
      'K\xff\xff\xff\xff',
      '',
      'R\0\0\0\x01x',
    ]) {
      const socket: Socket = connect(join(container.runDir, 'control.sock'));
      await once(socket, 'connect');
      // A reset is as good as an end.
      const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
      socket.resume().end(Buffer.from(nonsense, 'latin1'));
      await closed;
    }
    const many = await Promise.all(Array.from({ length: 300 }, () => attachTo(container.runDir)));
    for (const session of many) session.close();
    await signalContainer(container.runDir, '9');
    equal((await container.ended()).code, 137);
  });

  it('gets the signals it is sent', async () => {
    const container = fixture.script(
      'trap "echo usr1" USR1; trap "echo term; exit 5" TERM; echo up; while :; do sleep 0.02; done',
    );
    await container.start();
    const session = await attachTo(container.runDir);
    const output = new OutputReader(session.output);
    await eventually(async () => (await container.logged('stdout')).includes('up'));
    session.kill('SIGUSR1');
    await output.until('usr1\n');
    await signalContainer(container.runDir, 'term');
    equal((await session.exit).code, 5);
    await rejects(signalContainer(container.runDir, 'SIGTERM'), { code: 'CONTAINER_NOT_RUNNING' });
    await rejects(attachTo(container.runDir), { code: 'CONTAINER_NOT_RUNNING' });
    await rejects(signalContainer(container.runDir, 'SIGNOPE'), { code: 'INVALID_INPUT' });
    equal((await waitForExit(container.runDir))?.code, 5);
  });

  it('is reached in a directory whose path no socket address can hold', async () => {
    const deep = join(fixture.dir, 'd'.repeat(100));
    mkdirSync(deep);
    const container = fixture.container(['cat']);
    const runDir = join(deep, 'run');
    mkdirSync(runDir);
    await container.start({ runDir, stdin: true });
    const session = await attachTo(runDir);
    session.closeStdin();
    equal((await session.exit).code, 0);
  });

  it('opens its log anew when told to', async () => {
    const container = fixture.container(['cat']);
    await container.start({ stdin: true });
    const session = await attachTo(container.runDir);
    const output = new OutputReader(session.output);
    await session.write(Buffer.from('before\n'));
    await output.until('before\n');
    renameSync(container.logPath, `${container.logPath}.moved`);
    await reopenLog(container.runDir);
    await session.write(Buffer.from('after\n'));
    session.closeStdin();
    await session.exit;
    equal(await container.logged('stdout'), 'after\n');
    match(readFileSync(`${container.logPath}.moved`, 'utf8'), /before/);
  });

  describe('with a terminal', () => {
    it('has it as console, controlling terminal and streams, in the size it was given', async () => {
      const container = fixture.script(
        'tty; stty size; ls -l /dev/console | cut -c1; echo x > /dev/tty; readlink /proc/self/fd/2',
        {
          process: { terminal: true, consoleSize: { width: 101, height: 33 } },
        },
      );
      const { stdout } = await container.run();
      equal(stdout, '/dev/pts/0\r\n33 101\r\nc\r\nx\r\n/dev/pts/0\r\n');
    });

    it('belongs to its user', async () => {
      const container = fixture.script('stat -c %u $(tty); echo ok > $(tty)', {
        process: { terminal: true, user: { username: 'ana' } },
      });
      equal((await container.run()).stdout, '1001\r\nok\r\n');
    });

    it('is written, resized and interrupted through a session', async () => {
      // Without noflsh the terminal throws away what is on its way when it sees Ctrl-C.
      const script =
        'stty noflsh; trap "echo resized; stty size" WINCH; trap "echo int" INT; while :; do read x && echo "<$x>"; done';
      const container = fixture.script(script, { process: { terminal: true } });
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      const output = new OutputReader(session.output);
      await session.write(Buffer.from('hello\n'));
      await output.until('<hello>');
      session.resize({ columns: 120, rows: 40 });
      await session.write(Buffer.from('x\n'));
      await output.until('40 120');
      await session.write(Buffer.from('\x03'));
      await output.until('int');
      session.kill('SIGKILL');
      equal((await session.exit).code, 137);
    });

    it('reads the end of input when a session closes it', async () => {
      const container = fixture.container(['cat'], { process: { terminal: true } });
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      session.closeStdin();
      equal((await session.exit).code, 0);
    });

    it('that has been closed by the program and opened again', async () => {
      const container = fixture.script('exec </dev/null >/dev/null 2>&1; sleep 0.1; echo back > /dev/console', {
        process: { terminal: true },
      });
      equal((await container.run()).stdout, 'back\r\n');
    });
  });
});

function supervisorKilobytes(container: Container): number {
  const state = JSON.parse(readFileSync(join(container.runDir, 'state.json'), 'utf8')) as { supervisorPid: number };
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${state.supervisorPid}/status`, 'utf8'))?.[1]);
}
