import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import { connect as connectGrpc } from './client.ts';
import { connectLocal } from './local/client.ts';
import { createLocalServer } from './local/server.ts';
import { createRpcServer } from './server.ts';
import type { RpcServer } from './server.ts';
import { daemonService, tasksService } from './services.ts';

for (const [name, listen, connect] of [
  ['gRPC', listenGrpc, (path: string) => connectGrpc(`unix:${path}`)],
  ['the local protocol', listenLocal, connectLocal],
] as const) {
  describe(`${name} over a unix socket`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsswarm-rpc-'));
    const path = join(dir, 'sock');
    let server: Closing;
    let seenAbort = false;
    const client = connect(path);

    before(async () => {
      server = await listen(path, (server) => {
        server.add(daemonService, {
          status: () =>
            Promise.reject(
              new TsswarmError('IN_USE', 'doing "x": no', { hint: 'do y', where: { file: 'f', line: 2, column: 3 } }),
            ),
          leave: ({ force }) => Promise.resolve(force ? { warning: 'forced' } : {}),
          unlock: () => Promise.reject(new Error('not asked for')),
          forceNewCluster: () => Promise.reject(new Error('not asked for')),
        });
        const { containers, logs, exec, attach } = tasksService;
        server.add(
          { containers, logs, exec, attach },
          {
            containers: () => Promise.resolve({ containers: [] }),
            async *logs(request, signal) {
              for (let i = 0; i < request.tail; i++)
                yield { stream: 'stdout' as const, time: '', data: Buffer.from(String(i)) };
              if (!request.follow) return;
              await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
              seenAbort = true;
            },
            async *exec(input) {
              for await (const message of input) if (message.stdin) yield { stdout: message.stdin };
              yield { exit: { code: 7, oomKilled: false } };
            },
            async *attach(input) {
              for await (const _ of input) throw new TsswarmError('NOT_FOUND', 'attaching to "t": no such task');
            },
          },
        );
      });
    });
    after(() => {
      client.close();
      server.close();
      rmSync(dir, { recursive: true });
    });

    it('carries an error with its code, hint and place', async () => {
      await assert.rejects(client.service(daemonService).status({}), (error) => {
        assert.ok(isTsswarmError(error, 'IN_USE'));
        assert.equal(error.message, 'doing "x": no');
        assert.equal(error.hint, 'do y');
        assert.deepEqual(error.where, { file: 'f', line: 2, column: 3 });
        return true;
      });
    });

    it('streams more than one window of messages in order', async () => {
      const seen: string[] = [];
      const logs = client.service(tasksService).logs({ taskId: 't', follow: false, tail: 5000, since: 0, until: 0 });
      for await (const entry of logs) seen.push(Buffer.from(entry.data).toString());
      assert.deepEqual(
        seen,
        Array.from({ length: 5000 }, (_, i) => String(i)),
      );
    });

    it('tells the handler when the caller stops reading', async () => {
      for await (const _ of client
        .service(tasksService)
        .logs({ taskId: 't', follow: true, tail: 1, since: 0, until: 0 }))
        break;
      while (!seenAbort) await new Promise((resolve) => setImmediate(resolve));
    });

    it('carries both directions of a process', async () => {
      const call = client.service(tasksService).exec();
      await call.send({ stdin: Buffer.from('a') });
      await call.send({ stdin: Buffer.from('b') });
      call.end();
      const out = [];
      for await (const message of call.output)
        out.push(message.exit ? message.exit.code : Buffer.from(message.stdout ?? []).toString());
      assert.deepEqual(out, ['a', 'b', 7]);
    });

    it('carries the error of a stream, also of one that is still being sent', async () => {
      const call = client.service(tasksService).attach();
      void call.send({ stdin: Buffer.from('more comes') });
      await assert.rejects(
        async () => {
          for await (const _ of call.output);
        },
        (error) => isTsswarmError(error, 'NOT_FOUND'),
      );
    });

    it('says UNAVAILABLE when nobody listens', async () => {
      const lonely = connect(join(dir, 'none'));
      await assert.rejects(lonely.service(daemonService).leave({ force: true }), (error) =>
        isTsswarmError(error, 'UNAVAILABLE'),
      );
      lonely.close();
    });

    it('carries messages larger than the window, in both directions', async () => {
      const call = client.service(tasksService).exec();
      const large = Buffer.alloc(3 << 20, 'x');
      void call
        .send({ stdin: large })
        .then(() => call.send({ stdin: large }))
        .then(() => call.end());
      let bytes = 0;
      for await (const { stdout } of call.output) bytes += stdout?.length ?? 0;
      assert.equal(bytes, 2 * large.length);
    });

    it('a stream that nobody reads does not hold up other calls', async () => {
      const unread = client.service(tasksService).exec();
      let sent = 0;
      void (async () => {
        for (let i = 0; i < 64; i++) {
          await unread.send({ stdin: Buffer.alloc(1 << 18) });
          sent++;
        }
      })().catch(() => undefined);
      for (let i = 0; i < 20; i++) await client.service(tasksService).containers({});
      assert.ok(sent < 64, 'the sender is held up');
      unread.cancel();
    });

    it('throws the reason of a signal, before and during a call', async () => {
      const logs = client.service(tasksService);
      const request = { taskId: 't', follow: true, tail: 1, since: 0, until: 0 };
      const end = new AbortController();
      await assert.rejects(async () => {
        for await (const _ of logs.logs(request, end.signal)) end.abort(new Error('enough'));
      }, /enough/);
      await assert.rejects(async () => {
        for await (const _ of logs.logs(request, end.signal));
      }, /enough/);
    });

    it('ends open calls when the server goes, and connects again when it is back', async () => {
      const request = { taskId: 't', follow: true, tail: 1, since: 0, until: 0 };
      await assert.rejects(
        async () => {
          for await (const _ of client.service(tasksService).logs(request)) server.close();
        },
        (error) => isTsswarmError(error, 'UNAVAILABLE') || isTsswarmError(error, 'CANCELLED'),
      );
      rmSync(path, { force: true });
      server = await listen(path, (server) =>
        server.add(daemonService, {
          status: () => Promise.reject(new TsswarmError('CONFLICT', 'second life')),
          leave: ({ force }) => Promise.resolve(force ? { warning: 'forced' } : {}),
          unlock: () => Promise.reject(new Error('not asked for')),
          forceNewCluster: () => Promise.reject(new Error('not asked for')),
        }),
      );
      for (;;) {
        const failure = await client
          .service(daemonService)
          .status({})
          .then(
            () => undefined,
            (error: unknown) => error,
          );
        if (isTsswarmError(failure, 'CONFLICT')) return;
        assert.ok(isTsswarmError(failure, 'UNAVAILABLE'));
      }
    });
  });
}

type Adding = Pick<RpcServer, 'add'>;
interface Closing {
  close(): void;
}

async function listenGrpc(path: string, add: (server: Adding) => void): Promise<Closing> {
  const server = createRpcServer();
  add(server);
  await server.listen(`unix:${path}`);
  return server;
}

async function listenLocal(path: string, add: (server: Adding) => void): Promise<Closing> {
  const local = createLocalServer();
  add(local);
  const server = createServer((socket) => local.serve(socket, Buffer.alloc(0)));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { close: () => (server.close(), local.close()) };
}
