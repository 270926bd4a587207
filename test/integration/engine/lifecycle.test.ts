import { deepEqual, equal, match, notEqual, ok, rejects } from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../base/errors.ts';
import type { ExecRequest } from '../../../node-engine/types.ts';
import { EngineFixture, IMAGE } from './engine-fixture.ts';

const exec: ExecRequest = {
  argv: [],
  env: [],
  user: '',
  workingDir: '',
  tty: false,
  stdin: false,
  privileged: false,
};

describe('life of a container', () => {
  const fixture = new EngineFixture();
  before(() => fixture.start());
  after(() => fixture.dispose());
  afterEach(async () => {
    for (const { id } of fixture.engine.containers.list()) await fixture.engine.containers.remove(id);
    deepEqual(fixture.leftovers(), []);
  });

  it('runs a command, keeps its output and its exit code', async () => {
    const result = await fixture.run('echo out; echo err >&2; exit 7');
    deepEqual(result, { code: 7, oomKilled: false, stdout: 'out\n', stderr: 'err\n' });
  });

  it('goes from created to running to exited', async () => {
    const { containers } = fixture.engine;
    const request = fixture.request(['sleep', '1000'], { labels: { a: '1', b: '2' } }, { labels: { b: '3' } });
    const created = await containers.create(request);
    equal(created.state, 'created');
    deepEqual(created.argv, ['sleep', '1000']);
    deepEqual(created.labels, { a: '1', b: '3' });
    const running = await containers.start(request.id);
    equal(running.state, 'running');
    ok(running.pid > 0 && running.startedAt >= created.createdAt);
    equal((await containers.start(request.id)).pid, running.pid, 'starting a running container changes nothing');
    const waiting = containers.wait(request.id);
    await containers.kill(request.id, 'SIGKILL');
    equal((await waiting).code, 137);
    const exited = containers.inspect(request.id);
    equal(exited?.state, 'exited');
    equal(exited?.pid, 0);
    ok((exited?.finishedAt ?? 0) >= running.startedAt);
    deepEqual(await containers.wait(request.id), exited?.exit);
    await rejects(containers.kill(request.id, 'SIGTERM'), { code: 'CONTAINER_NOT_RUNNING' });
    await rejects(containers.exec(request.id, { ...exec, argv: ['true'] }), { code: 'CONTAINER_NOT_RUNNING' });
  });

  it('stops by the stop signal, which the program may handle', async () => {
    const id = await fixture.up(
      fixture.request(['sh', '-c', 'trap "echo bye; exit 3" USR1; echo ready; while :; do sleep 0.05; done'], {
        stopSignal: 'SIGUSR1',
      }),
    );
    await fixture.written(id, 'ready');
    equal((await fixture.engine.containers.stop(id, { graceMs: 60_000 })).code, 3);
    equal(await fixture.output(id, 'stdout'), 'ready\nbye\n');
    equal((await fixture.engine.containers.stop(id, { graceMs: 0 })).code, 3, 'stopping again changes nothing');
  });

  it('kills what ignores the stop signal, children included', async () => {
    const id = await fixture.up(
      fixture.request(['sh', '-c', 'trap "" TERM; (trap "" TERM; sleep 1000) & echo ready; sleep 1000']),
    );
    await fixture.written(id, 'ready');
    equal((await fixture.engine.containers.stop(id, { graceMs: 50 })).code, 137);
  });

  it('is removed at once while a stop waits for its grace to pass', async () => {
    const id = await fixture.up(
      fixture.request(['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done']),
    );
    await fixture.written(id, 'ready');
    const stopping = fixture.engine.containers.stop(id, { graceMs: 3_600_000 });
    await fixture.engine.containers.remove(id);
    equal((await stopping).code, 137);
    equal(fixture.engine.containers.inspect(id), undefined);
    await fixture.engine.containers.remove(id);
  });

  it('starts again in place with what it has written', async () => {
    const { containers } = fixture.engine;
    const id = await fixture.up(fixture.request(['sh', '-c', 'echo line >> /root/file; cat /root/file; hostname']));
    await containers.wait(id);
    await containers.start(id);
    await containers.wait(id);
    const hostname = `${id.slice(0, 12)}\n`;
    equal(await fixture.output(id, 'stdout'), `line\n${hostname}line\nline\n${hostname}`);
    const own = join(fixture.stateDir, 'engine/writable', id, 'upper');
    const written = readdirSync(own, { recursive: true }).toSorted();
    deepEqual(written, ['root', 'root/file'], 'its own layer has what it wrote, no mount points');
  });

  it('executes commands beside the main process', async () => {
    const id = await fixture.up(fixture.request(['sleep', '1000'], { env: ['A=1'], workingDir: '/srv' }));
    const run = async (request: Partial<ExecRequest>): Promise<string> => {
      const session = await fixture.engine.containers.exec(id, { ...exec, ...request });
      let text = '';
      let last = '';
      for await (const { stream, data } of session.output) {
        // Where one piece of output ends and the next begins is the kernel's business.
        text += `${stream === last ? '' : `${stream}: `}${Buffer.from(data).toString()}`;
        last = stream;
      }
      return `${text}exit: ${(await session.exit).code}`;
    };
    equal(await run({ argv: ['sh', '-c', 'echo $A $B; pwd; exit 4'], env: ['B=2'] }), 'stdout: 1 2\n/srv\nexit: 4');
    equal(await run({ argv: ['id', '-u'], user: 'app' }), 'stdout: 1000\nexit: 0');
    equal(await run({ argv: ['sh', '-c', 'kill -9 $$'] }), 'exit: 137');
    const failed = await run({ argv: ['nowhere'] }).catch((error: unknown) => messageOf(error));
    match(failed, /nowhere/);
    const session = await fixture.engine.containers.exec(id, { ...exec, argv: ['cat'], stdin: true });
    await session.write(Buffer.from('through'));
    session.closeStdin();
    let through = '';
    for await (const { data } of session.output) through += Buffer.from(data).toString();
    equal(through, 'through');
    equal((await session.exit).code, 0);
  });

  it('attaches to output and stdin', async () => {
    const id = await fixture.up(fixture.request(['sh', '-c', 'echo ready; cat'], { openStdin: true }));
    await fixture.written(id, 'ready');
    const session = await fixture.engine.containers.attach(id);
    await session.write(Buffer.from('hello\n'));
    for await (const { data } of session.output) {
      equal(Buffer.from(data).toString(), 'hello\n');
      break;
    }
    session.closeStdin();
    equal((await session.exit).code, 0);
    session.close();
  });

  it('takes over the layer and the anonymous volumes of a stopped container', async () => {
    const mounts = [
      {
        type: 'volume',
        source: '',
        target: '/anon',
        readOnly: false,
        noCopy: false,
        subpath: '',
        driver: '',
        driverOptions: {},
        labels: {},
      },
    ] as const;
    const first = await fixture.up(
      fixture.request(['sh', '-c', 'echo first; echo a > /root/a; echo b > /anon/b'], { mounts }),
    );
    await fixture.engine.containers.wait(first);
    const second = fixture.request(['sh', '-c', 'cat /root/a /anon/b'], { mounts }, { adopt: first });
    await fixture.up(second);
    equal((await fixture.engine.containers.wait(second.id)).code, 0);
    equal(await fixture.output(second.id, 'stdout'), 'first\na\nb\n', 'the log goes on');
    equal(fixture.engine.containers.inspect(first), undefined);
    equal(fixture.engine.volumes.list().length, 1);
    await fixture.engine.containers.remove(second.id);
    deepEqual(fixture.engine.volumes.list(), []);
  });

  it('keeps its image from being removed', async () => {
    const request = fixture.request(['true']);
    await fixture.engine.containers.create(request);
    await rejects(fixture.engine.images.remove(IMAGE), { code: 'IN_USE', message: new RegExp(request.name) });
  });

  it('lets nobody wait for ever', async () => {
    const request = fixture.request(['sleep', '1000']);
    await fixture.engine.containers.create(request);
    const aborted = new AbortController();
    const gaveUp = fixture.engine.containers.wait(request.id, aborted.signal);
    const removed = fixture.engine.containers.wait(request.id);
    aborted.abort(new Error('enough'));
    await rejects(gaveUp, /enough/);
    await Promise.all([
      rejects(removed, { code: 'NOT_FOUND', message: /it was removed/ }),
      fixture.engine.containers.remove(request.id),
    ]);
    await rejects(fixture.engine.containers.start(request.id), { code: 'NOT_FOUND' });
  });

  it('starts many at a time', async () => {
    const requests = Array.from({ length: 50 }, () => fixture.request(['sleep', '1000']));
    await Promise.all(requests.map((request) => fixture.up(request)));
    const pids = new Set(fixture.engine.containers.list().map(({ pid }) => pid));
    equal(pids.size, 50);
    await Promise.all(requests.map(({ id }) => fixture.engine.containers.remove(id)));
  });

  it('have folders made for them when they start, not before: what never ran has left nothing', async () => {
    const source = join(fixture.root, 'for-it');
    const bind = { type: 'bind', source, target: '/data', readOnly: false, propagation: 'rprivate' } as const;
    const request = fixture.request(['true'], { mounts: [{ ...bind, createHostPath: true }] });
    await fixture.engine.containers.create(request);
    ok(!existsSync(source));
    await fixture.engine.containers.start(request.id);
    ok(existsSync(source));
    equal((await fixture.engine.containers.wait(request.id)).code, 0);
  });

  describe('that cannot be', () => {
    const unchanged = (): void => {
      deepEqual(fixture.engine.containers.list(), []);
      deepEqual(readdirSync(join(fixture.stateDir, 'engine/containers')), []);
    };

    it('for want of its image', async () => {
      const request = fixture.request(['true'], {}, { imageId: `sha256:${'0'.repeat(64)}` });
      await rejects(fixture.engine.containers.create(request), { code: 'IMAGE_NOT_FOUND' });
      unchanged();
    });
    it('for want of a bind source, and makes none of the others', async () => {
      const bind = { type: 'bind', readOnly: false, propagation: 'rprivate' } as const;
      const other = join(fixture.root, 'made');
      const mounts = [
        { ...bind, source: other, target: '/a', createHostPath: true },
        { ...bind, source: '/does/not/exist', target: '/b', createHostPath: false },
      ];
      await rejects(fixture.engine.containers.create(fixture.request(['true'], { mounts })), {
        code: 'BIND_SOURCE_MISSING',
        message: /"\/does\/not\/exist" at "\/b"/,
      });
      ok(!existsSync(other));
      unchanged();
    });
    it('because of a value that is refused', async () => {
      await rejects(fixture.engine.containers.create(fixture.request(['true'], { capAdd: ['FLY'] })), {
        code: 'INVALID_INPUT',
      });
      unchanged();
    });
    it('because the id is taken', async () => {
      const request = fixture.request(['true']);
      await fixture.engine.containers.create(request);
      await rejects(fixture.engine.containers.create(request), { code: 'ALREADY_EXISTS' });
      notEqual(fixture.engine.containers.inspect(request.id), undefined);
    });
    it('for want of its command', async () => {
      const request = fixture.request(['nowhere-to-be-found']);
      await fixture.engine.containers.create(request);
      await rejects(fixture.engine.containers.start(request.id), {
        code: 'COMMAND_NOT_FOUND',
        message: `starting container "${request.name}": exec "nowhere-to-be-found" of image "engine-test/busybox:latest": executable file not found in $PATH`,
      });
      equal(fixture.engine.containers.inspect(request.id)?.state, 'created');
    });
    it('because its command is no program', async () => {
      const request = fixture.request(['/srv/plain']);
      await fixture.engine.containers.create(request);
      await rejects(fixture.engine.containers.start(request.id), { code: 'COMMAND_NOT_EXECUTABLE' });
    });
    it('for want of its user', async () => {
      const request = fixture.request(['true'], { user: 'nobody-knows' });
      await fixture.engine.containers.create(request);
      await rejects(fixture.engine.containers.start(request.id), { code: 'INVALID_INPUT', message: /nobody-knows/ });
    });
  });
});
