import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { ContainerId } from '../../../base/ids.ts';
import { EngineFixture, openEngine } from './engine-fixture.ts';

describe('a daemon that comes back', () => {
  const fixture = new EngineFixture();
  before(() => fixture.start());
  after(() => fixture.dispose());
  afterEach(async () => {
    for (const { id } of fixture.engine.containers.list()) await fixture.engine.containers.remove(id);
    deepEqual(fixture.leftovers(), []);
  });

  const runFile = (id: ContainerId, name: string): string => join(fixture.runDir, 'engine/containers', id, name);

  it('takes up containers that run, and hears of their end', async () => {
    const id = await fixture.up(
      fixture.request(['sh', '-c', 'echo ready; read line; echo $line; exit 5'], { openStdin: true }),
    );
    const before = fixture.engine.containers.inspect(id);
    await fixture.restart();
    deepEqual(fixture.engine.containers.inspect(id), before);
    const session = await fixture.engine.containers.attach(id);
    await session.write(Buffer.from('after\n'));
    equal((await fixture.engine.containers.wait(id)).code, 5);
    session.close();
    equal(await fixture.output(id, 'stdout'), 'ready\nafter\n');
  });

  it('learns of containers that ended while it was away, and can start them again', async () => {
    const request = fixture.request(['sh', '-c', 'echo run >> /root/runs; cat /root/runs; read line; exit 6'], {
      openStdin: true,
    });
    const id = await fixture.up(request);
    const pid = fixture.engine.containers.inspect(id)?.pid ?? 0;
    await fixture.written(id, 'run');
    await fixture.engine.close();
    process.kill(pid, 'SIGKILL');
    while (!existsSync(runFile(id, 'exit.json'))) await new Promise((resolve) => setImmediate(resolve));
    await fixture.restart();
    const info = fixture.engine.containers.inspect(id);
    equal(info?.state, 'exited');
    equal(info?.exit?.code, 137);
    await fixture.engine.containers.start(id);
    await fixture.written(id, 'run\nrun\nrun\n');
    await fixture.engine.containers.stop(id, { graceMs: 0 });
  });

  it('is the only one in its folder', async () => {
    await rejects(openEngine(fixture.stateDir, fixture.runDir, fixture.cgroupParent), { code: 'IN_USE' });
  });

  it('waits for what its predecessor was just starting when it was killed', async () => {
    await fixture.engine.close();
    const lock = join(fixture.stateDir, 'engine/lock');
    const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; sleep 0.3'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    await fixture.restart();
    ok(fixture.engine.info());
  });

  it('ends a container whose supervisor was killed', async () => {
    const id = await fixture.up(fixture.request(['sleep', '1000']));
    const { supervisorPid } = JSON.parse(readFileSync(runFile(id, 'state.json'), 'utf8')) as { supervisorPid: number };
    process.kill(supervisorPid, 'SIGKILL');
    equal((await fixture.engine.containers.wait(id)).code, 137);
    equal(fixture.engine.containers.inspect(id)?.state, 'exited');
  });

  it('marks as lost what ran when the node was switched off, and refuses to start without its secrets', async () => {
    const secrets = [{ target: '/run/secrets/key', uid: 0, gid: 0, mode: 0o400, data: Buffer.from('hush') }];
    const id = await fixture.up(fixture.request(['sleep', '1000'], {}, { secrets }));
    const plain = await fixture.up(fixture.request(['sleep', '1000']));
    const pids = [id, plain].map((one) => fixture.engine.containers.inspect(one)?.pid ?? 0);
    await fixture.engine.close();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    for (const one of [id, plain]) {
      while (!existsSync(runFile(one, 'exit.json'))) await new Promise((resolve) => setImmediate(resolve));
    }
    // A supervisor has a moment to live after its last word, unlike one whose machine was switched off.
    while (fixture.leftovers().some((left) => left.startsWith('process'))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    // What a reboot does to /run.
    for (const one of [id, plain]) rmSync(join(fixture.runDir, 'engine/containers', one), { recursive: true });
    rmSync(join(fixture.runDir, 'engine/secrets', id), { recursive: true });
    await fixture.restart();
    equal(fixture.engine.containers.inspect(id)?.exit?.code, 255);
    await rejects(fixture.engine.containers.start(id), {
      code: 'RUNTIME_FAILED',
      message: /secrets and configs are gone/,
    });
    equal((await fixture.engine.containers.start(plain)).state, 'running');
  });

  it('finds nothing left over after kill -9 at any moment', async () => {
    const pattern = fixture.request(['sleep', '1000']);
    await fixture.engine.close();
    let takenUp = 0;
    for (let round = 0; round < 20; round++) {
      const daemon = spawn(
        process.execPath,
        [
          join(import.meta.dirname, 'churn.ts'),
          fixture.stateDir,
          fixture.runDir,
          fixture.cgroupParent,
          JSON.stringify(pattern),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await killAfter(daemon, round, (round * 37) % 200);
      await fixture.restart();
      const { containers, volumes } = fixture.engine;
      const alive = containers.list().filter(({ state }) => state === 'running');
      takenUp += containers.list().length;
      for (const { pid } of alive) ok(existsSync(`/proc/${pid}`));
      await Promise.all(containers.list().map(({ id }) => containers.remove(id)));
      deepEqual(fixture.leftovers(), [], `after round ${round}`);
      deepEqual(volumes.list(), []);
      await fixture.engine.close();
    }
    ok(takenUp > 0, 'the daemon was killed before it made anything');
    await fixture.restart();
  });
});

/** Kills the daemon when it has done `steps` steps, and then for another while: `turns` rounds of this process's loop. */
async function killAfter(daemon: ChildProcess, steps: number, turns: number): Promise<void> {
  const output = (daemon.stdout as Readable).iterator({ destroyOnReturn: false });
  const exited = once(daemon, 'exit');
  let seen = '';
  for await (const chunk of output) {
    seen += String(chunk);
    if (seen.length >= 'ready\n'.length + steps) break;
  }
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  daemon.kill('SIGKILL');
  deepEqual(await exited, [null, 'SIGKILL'], 'the daemon ended by itself');
}
