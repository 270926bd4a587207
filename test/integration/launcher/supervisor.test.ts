import { deepEqual, equal, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  LAUNCHER_PROGRAM,
  attachTo,
  isAlive,
  killAll,
  readExit,
  readState,
  waitForExit,
} from '../../../node-engine/launcher/index.ts';
import type { RunState } from '../../../node-engine/launcher/index.ts';
import { LauncherFixture, OutputReader, cgroupMounts, eventually } from './fixture.ts';
import type { Container } from './fixture.ts';

describe('the supervisor', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  const stateOf = (container: Container): RunState => {
    const state = readState(container.runDir);
    if (!state) throw new Error('the container has no state');
    return state;
  };

  it('lives on, logging and answering, when the process that started it is killed with all it had', async () => {
    const container = fixture.script('echo before; read line; echo $line; exit 3');
    const args = [
      'run',
      '--bundle',
      container.bundleDir,
      '--run-dir',
      container.runDir,
      '--log',
      container.logPath,
      '--stdin',
    ];
    const script = `const { spawn } = require('child_process');
      spawn(${JSON.stringify(LAUNCHER_PROGRAM)}, ${JSON.stringify(args)}, { stdio: ['ignore', 'inherit', 'inherit'] });
      setInterval(() => undefined, 1000);`;
    const caller = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    await once(caller.stdout, 'data');
    // The whole process group and session, as a terminal or a service manager would.
    process.kill(-(caller.pid ?? 0), 'SIGKILL');
    await once(caller, 'exit');
    const { supervisor } = stateOf(container);
    ok(isAlive(supervisor));
    const session = await attachTo(container.runDir);
    await session.write(Buffer.from('after\n'));
    equal((await session.exit).code, 3);
    equal(await container.logged('stdout'), 'before\nafter\n');
  });

  it('is not in the caller’s session or cgroup, and holds none of its files', async () => {
    const container = fixture.container(['sleep', '1000']);
    await container.start();
    const { pid } = stateOf(container).supervisor;
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    equal(Number(fields[3]), pid, 'it leads a session of its own');
    equal(readlinkSync(`/proc/${pid}/cwd`), '/');
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
    equal(groups.length, cgroupMounts().length);
    for (const line of groups)
      ok(line.endsWith(`:/${fixture.cgroupParent}`) || line === `0::/${fixture.cgroupParent}/supervisors`, line);
    const files = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const own = new RegExp(
      `^(/dev/null|pipe:|socket:|anon_inode:|${container.runDir}|${container.logPath}|/sys/fs/cgroup)`,
    );
    deepEqual(
      files.filter((file) => !own.test(file)),
      [],
    );
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPIPE'] as const) process.kill(pid, signal);
    equal(isAlive(stateOf(container).supervisor), true);
    await killAll(container.runDir);
    equal((await container.ended()).code, 137);
  });

  it('takes at most 1 MB of memory, also after much output', async () => {
    const container = fixture.script('head -c 30000000 /dev/zero | tr "\\0" "x" | fold -w 100; read x');
    await container.start({ stdin: true, log: { path: container.logPath, maxSizeBytes: 1_000_000, maxFiles: 2 } });
    const session = await attachTo(container.runDir);
    const { pid } = stateOf(container).supervisor;
    const main = stateOf(container).pid;
    await eventually(() => existsSync(`${container.logPath}.1`));
    // The shell has only itself left, and reads.
    await eventually(() => readFileSync(`/proc/${main}/task/${main}/children`, 'utf8') === '');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kilobytes = (key: string): number => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]);
    ok(kilobytes('VmRSS') <= 1000, status);
    // Buffers for the log and the streams are 64 and 128 kB, touched by now.
    ok(kilobytes('RssAnon') <= 350, status);
    session.kill('SIGKILL');
    await session.exit;
  });

  it('takes the container with it when it is killed itself, so that nothing runs unseen', async () => {
    const container = fixture.script('sleep 1000 & echo up; sleep 1000');
    await container.start();
    await eventually(async () => (await container.logged('stdout')).includes('up'));
    const { supervisor, ...main } = stateOf(container);
    const watching = waitForExit(container.runDir);
    process.kill(supervisor.pid, 'SIGKILL');
    await eventually(() => !isAlive(main));
    equal(readExit(container.runDir), undefined);
    equal(await watching, undefined);
    // The next start clears up after it.
    await container.start();
    await killAll(container.runDir);
    equal((await container.ended()).code, 137);
    deepEqual(fixture.leftovers(), []);
  });

  it('has written the exit durably, and removed all, before it announces it', async () => {
    for (let round = 0; round < 10; round++) {
      const container = fixture.script('read line');
      await container.start({ stdin: true });
      const session = await attachTo(container.runDir);
      session.closeStdin();
      await session.exit;
      equal(readExit(container.runDir)?.code, 1);
      deepEqual(fixture.leftovers(), []);
      // May be started again at once.
      await container.start({ stdin: true });
      await killAll(container.runDir);
      await container.ended();
    }
  });

  it('keeps its files to root', async () => {
    const container = fixture.container(['true']);
    await container.run();
    for (const name of ['state.json', 'exit.json'])
      equal(statSync(join(container.runDir, name)).mode & 0o777, 0o600, name);
    equal(statSync(container.logPath).mode & 0o777, 0o600);
  });

  it('starts many side by side and leaves nothing', async () => {
    const containers = Array.from({ length: 20 }, (_, index) => fixture.script(`echo ${index}; exit ${index}`));
    const exits = await Promise.all(containers.map((container) => container.run()));
    deepEqual(
      exits.map(({ exit, stdout }) => [exit.code, stdout]),
      containers.map((_, index) => [index, `${index}\n`]),
    );
    deepEqual(fixture.leftovers(), []);
  });

  it('gives each its output, signals and end apart when they run together', async () => {
    const containers = [fixture.container(['cat']), fixture.container(['cat'])];
    const sessions = await Promise.all(
      containers.map(async (container) => {
        await container.start({ stdin: true });
        return attachTo(container.runDir);
      }),
    );
    await Promise.all(sessions.map((session, index) => session.write(Buffer.from(`to ${index}\n`))));
    for (const [index, session] of sessions.entries()) await new OutputReader(session.output).until(`to ${index}\n`);
    sessions[0]?.kill('SIGKILL');
    equal((await sessions[0]?.exit)?.code, 137);
    sessions[1]?.closeStdin();
    equal((await sessions[1]?.exit)?.code, 0);
  });
});
