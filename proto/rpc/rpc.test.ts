import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import { connect } from './client.ts';
import { createRpcServer } from './server.ts';
import { daemonService, tasksService } from './services.ts';

describe('rpc over a unix socket', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-rpc-'));
  const address = `unix:${join(dir, 'sock')}`;
  const server = createRpcServer();
  let seenAbort = false;
  const client = connect(address);

  before(async () => {
    server.add(daemonService, {
      status: () =>
        Promise.reject(
          new TsswarmError('IN_USE', 'doing "x": no', { hint: 'do y', where: { file: 'f', line: 2, column: 3 } }),
        ),
      leave: (request) => Promise.resolve({ ...request }),
    });
    server.add(tasksService, {
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
    });
    await server.listen(address);
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
    for await (const _ of client.service(tasksService).logs({ taskId: 't', follow: true, tail: 1, since: 0, until: 0 }))
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
    const lonely = connect(`unix:${join(dir, 'none')}`);
    await assert.rejects(lonely.service(daemonService).leave({ force: true }), (error) =>
      isTsswarmError(error, 'UNAVAILABLE'),
    );
    lonely.close();
  });
});
