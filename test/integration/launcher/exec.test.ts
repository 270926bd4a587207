import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { LAUNCHER_PROGRAM, killAll } from '../../../node-engine/launcher/index.ts';
import { execInContainer } from '../../../node-engine/runtime/exec-session.ts';
import type { ProcessSession, TerminalSize } from '../../../node-engine/types.ts';
import type { Container } from './fixture.ts';
import { CAPABILITIES, LauncherFixture, OutputReader, cgroupDir, collect } from './fixture.ts';

describe('a command executed in a container', () => {
  let fixture: LauncherFixture;
  let container: Container;
  before(async () => {
    fixture = new LauncherFixture();
    container = fixture.container(['sleep', '1000'], { process: { noNewPrivileges: true } });
    await container.start();
  });
  after(() => fixture.dispose());

  interface Options {
    readonly process?: Record<string, unknown>;
    readonly tty?: boolean;
    readonly stdin?: boolean;
    readonly size?: TerminalSize;
  }
  const exec = (argv: readonly string[], options: Options = {}): Promise<ProcessSession> =>
    execInContainer(LAUNCHER_PROGRAM, {
      runDir: container.runDir,
      processPath: fixture.process(argv, options.process),
      tty: options.tty ?? false,
      stdin: options.stdin ?? false,
      seccompPath: '',
      ...(options.size ? { size: options.size } : {}),
    });
  const script = (text: string, options: Options = {}): Promise<ProcessSession> => exec(['sh', '-c', text], options);

  it('gives its streams apart, and its exit code', async () => {
    const session = await script('echo out; echo err >&2; exit 7');
    deepEqual(await collect(session.output), { stdout: 'out\n', stderr: 'err\n' });
    equal((await session.exit).code, 7);
  });

  for (const [title, command, expected] of [
    ['is in the namespaces of the container', 'hostname; ls -d /proc/1 && cat /proc/1/comm', 'box\n/proc/1\nsleep\n'],
    ['is in its cgroups', 'cut -d: -f3 /proc/self/cgroup | sort -u', '/\n'],
    [
      'has the rights that its process object gives',
      'grep -E "CapEff|CapBnd" /proc/self/status',
      /a80425fb\n.*a80425fb\n$/,
    ],
    ['sees the root as it is', 'echo there > /made && cat /made', 'there\n'],
    ['has streams it can open again', 'echo a > /dev/stdout; echo b > /proc/self/fd/1', 'a\nb\n'],
    ['has no other file open', 'ls /proc/self/fd | tr "\\n" " "', '0 1 2 3 '],
    ['is in a session of its own', 'test $$ = $(cut -d" " -f6 /proc/self/stat) && echo yes', 'yes\n'],
    ['has HOME', 'echo $HOME', '/root\n'],
  ] as const) {
    it(title, async () => {
      const { stdout, stderr } = await collect((await script(command)).output);
      if (typeof expected === 'string') equal(stdout, expected, stderr);
      else match(stdout, expected, stderr);
    });
  }

  it('runs as another user, with streams that this one can open', async () => {
    const session = await script('id -u; id -G; echo x > /dev/stderr; pwd', {
      process: { user: { username: 'ana' }, cwd: '/tmp' },
    });
    deepEqual(await collect(session.output), { stdout: '1001\n1002 29 44\n/tmp\n', stderr: 'x\n' });
  });

  it('has the limits, the score and no new privileges, as asked', async () => {
    const session = await script('ulimit -n; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status', {
      process: { noNewPrivileges: true, oomScoreAdj: 300, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 77, hard: 77 }] },
    });
    equal((await collect(session.output)).stdout, '77\n300\nNoNewPrivs:\t1\n');
  });

  it('is fed and ended by stdin', async () => {
    const session = await exec(['md5sum'], { stdin: true });
    const block = Buffer.alloc(1024 * 1024, 'y');
    for (let sent = 0; sent < 8; sent++) await session.write(block);
    session.closeStdin();
    const hash = createHash('md5')
      .update(Buffer.alloc(8 * block.length, 'y'))
      .digest('hex');
    match((await collect(session.output)).stdout, new RegExp(hash));
    equal((await session.exit).code, 0);
  });

  it('may stop reading stdin early', async () => {
    const session = await script('read line; echo $line', { stdin: true });
    await session.write(Buffer.concat([Buffer.from('first\n'), Buffer.alloc(100_000)]));
    equal((await collect(session.output)).stdout, 'first\n');
    equal((await session.exit).code, 0);
  });

  it('leaves no descriptor open here', async () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const sessions = async (): Promise<void> => {
      const all = await Promise.all(Array.from({ length: 5 }, () => script('echo yes', { stdin: true })));
      for (const { output } of all) equal((await collect(output)).stdout, 'yes\n');
      await Promise.all(all.map(({ exit }) => exit));
      // What is closed is closed in the next turn.
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    };
    await sessions();
    const before = open();
    await sessions();
    equal(open(), before);
  });

  it('delivers all of much output', async () => {
    const session = await script('head -c 20000000 /dev/zero; head -c 1000 /dev/zero >&2');
    const { stdout, stderr } = await collect(session.output);
    deepEqual([stdout.length, stderr.length], [20_000_000, 1000]);
  });

  it('gets signals, and says by which it ended', async () => {
    const polite = await script('trap "echo bye; exit 4" TERM; echo up; while :; do sleep 0.02; done');
    const output = new OutputReader(polite.output);
    await output.until('up\n');
    polite.kill('SIGTERM');
    await output.until('bye\n');
    equal((await polite.exit).code, 4);
    const hard = await exec(['sh', '-c', 'kill -USR2 $$']);
    equal((await hard.exit).code, 128 + 12);
  });

  it('does not outlive its session', async () => {
    const session = await script('echo $$; exec sleep 1000');
    const pid = (await new OutputReader(session.output).until('\n')).trim();
    session.close();
    const probe = `while [ -d /proc/${pid} ]; do sleep 0.01; done; echo gone`;
    equal((await collect((await script(probe)).output)).stdout, 'gone\n');
  });

  it('does not outlive the process that asked for it', async () => {
    const path = fixture.process(['sh', '-c', 'echo $$; exec sleep 1000']);
    const args = JSON.stringify(['exec', '--run-dir', container.runDir, '--process', path]);
    const caller = `require('child_process').spawn(${JSON.stringify(LAUNCHER_PROGRAM)}, ${args}, { stdio: 'inherit' })`;
    const child = spawn(process.execPath, ['-e', caller], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = String((await once(child.stdout, 'data'))[0]).trim();
    child.kill('SIGKILL');
    const probe = `while [ -d /proc/${pid} ]; do sleep 0.01; done; echo gone`;
    equal((await collect((await script(probe)).output)).stdout, 'gone\n');
  });

  for (const [title, argv, changes, code, message] of [
    ['a command that is nowhere', ['nope'], {}, 127, /executable file not found/],
    ['a folder', ['/etc'], {}, 126, /Permission denied/],
    ['an unknown user', ['true'], { user: { username: 'eve' } }, 125, /no such user/],
    ['a working directory that does not exist', ['true'], { cwd: '/no/such' }, 125, /\/no\/such/],
    ['no arguments', [], {}, 125, /no arguments/],
  ] as const) {
    it(`is refused: ${title}`, async () => {
      await rejects(exec(argv, { process: changes }), message);
      // As a command line it has the exit codes of `docker exec`.
      const args = ['exec', '--run-dir', container.runDir, '--process', fixture.process(argv, changes)];
      const { status, stderr, stdout } = spawnSync(LAUNCHER_PROGRAM, args, { encoding: 'utf8' });
      equal(status, code);
      match(stderr, message);
      equal(stdout, '');
    });
  }

  it('is refused where nothing runs', async () => {
    const stopped = fixture.container(['true']);
    const request = { processPath: fixture.process(['true']), tty: false, stdin: false, seccompPath: '' };
    await rejects(execInContainer(LAUNCHER_PROGRAM, { ...request, runDir: stopped.runDir }), /not running/);
    await stopped.run();
    await rejects(execInContainer(LAUNCHER_PROGRAM, { ...request, runDir: stopped.runDir }), /not running/);
    // The pid of somebody else is not taken for the container's.
    const path = join(stopped.runDir, 'state.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"pid":\d+/, `"pid":${process.pid}`));
    await rejects(execInContainer(LAUNCHER_PROGRAM, { ...request, runDir: stopped.runDir }), /not running/);
  });

  describe('with a terminal', () => {
    it('has it in the container’s devpts, in the size it was given', async () => {
      const session = await script('tty; stty size; echo x > /dev/tty', {
        tty: true,
        process: { terminal: true, consoleSize: { width: 90, height: 20 } },
      });
      match((await collect(session.output)).stdout, /^\/dev\/pts\/\d+\r\n20 90\r\nx\r\n$/);
      equal((await session.exit).code, 0);
    });

    it('is resized, interrupted and ended', async () => {
      const session = await script(
        'stty noflsh; trap "stty size" WINCH; trap "echo int; exit 6" INT; echo up; while :; do sleep 0.02; done',
        {
          tty: true,
          stdin: true,
          process: { terminal: true },
          size: { columns: 100, rows: 30 },
        },
      );
      const output = new OutputReader(session.output);
      await output.until('up');
      session.resize({ columns: 121, rows: 41 });
      await output.until('41 121');
      await session.write(Buffer.from('\x03'));
      await output.until('int');
      equal((await session.exit).code, 6);
    });

    it('reads the end of input', async () => {
      const session = await exec(['cat'], { tty: true, stdin: true, process: { terminal: true } });
      await session.write(Buffer.from('line\n'));
      await new OutputReader(session.output).until('line\r\nline\r\n');
      session.closeStdin();
      equal((await session.exit).code, 0);
    });

    it('belongs to its user', async () => {
      const session = await script('stat -c %u $(tty); echo ok > $(tty)', {
        ...{ tty: true, process: { terminal: true, user: { username: 'ana' } } },
      });
      equal((await collect(session.output)).stdout, '1001\r\nok\r\n');
    });
  });

  it('cannot write to the launcher through /proc (CVE-2019-5736)', async () => {
    const before = createHash('sha256').update(readFileSync(LAUNCHER_PROGRAM)).digest('hex');
    for (const [title, capabilities] of [
      ['default', CAPABILITIES],
      ['more', [...CAPABILITIES, 'CAP_SYS_ADMIN', 'CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH']],
    ] as const) {
      // The launcher itself runs in the container as /proc/self/exe; its child keeps its file and writes when it has ended.
      const child = `exec 3< /proc/$PPID/exe; P=$PPID; (while [ -d /proc/$P/fd ]; do sleep 0.01; done; echo x 2> /${title} > /proc/self/fd/3; echo tried >> /${title}) & sleep 0.05`;
      const session = await exec(['/proc/self/exe', 'init', '--', '/bin/sh', '-c', child], {
        process: { capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities } },
      });
      equal((await session.exit).code, 0);
      const wait = `while ! grep -q tried /${title}; do sleep 0.01; done; cat /${title}`;
      match(
        (await collect((await script(wait)).output)).stdout,
        /(Read-only file system|Operation not permitted|Permission denied|can't create)/,
      );
    }
    equal(createHash('sha256').update(readFileSync(LAUNCHER_PROGRAM)).digest('hex'), before);
  });

  it('has the container’s cgroup counted in, and ends with it', async () => {
    const other = fixture.container(['sleep', '1000']);
    await other.start();
    const request = { processPath: fixture.process(['sh', '-c', 'echo up; sleep 1000']), tty: false, stdin: false };
    const session = await execInContainer(LAUNCHER_PROGRAM, { ...request, runDir: other.runDir, seccompPath: '' });
    await new OutputReader(session.output).until('up');
    const pids = readFileSync(join(cgroupDir('pids', other.cgroup), 'cgroup.procs'), 'utf8')
      .trim()
      .split('\n');
    equal(pids.length, 2);
    await killAll(other.runDir);
    equal((await session.exit).code, 137);
    equal((await other.ended()).code, 137);
    ok(!existsSync(cgroupDir('pids', other.cgroup)));
  });

  it('passes the caller’s own files through when they are no sockets', async () => {
    const args = ['exec', '--run-dir', container.runDir, '--process', fixture.process(['sh', '-c', 'cat; echo $?'])];
    const child = spawn('sh', ['-c', `echo piped | "$0" "$@" | cat`, LAUNCHER_PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    equal(await text(child.stdout), 'piped\n0\n');
  });
});
