import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { deferred } from '../../base/async.ts';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import { NOBODY, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import type { LiveIdentity } from './live-identity.ts';
import { createRpcServer } from './server.ts';
import type { RpcServer, ServiceHandlers } from './server.ts';
import { raftService } from './services.ts';
import { openStream } from './stream.ts';
import { nodeCredentials } from './tls.ts';
import type { ServerExpectation } from './tls.ts';

type Messages = ServiceHandlers<typeof raftService>['messages'];

describe('a stream straight on HTTP/2', () => {
  let cluster: CaCluster;
  const closers: (() => void)[] = [];
  before(async () => void (cluster = await caCluster()));
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });
  after(() => cluster.close());

  const serve = async (messages: Messages): Promise<{ readonly server: RpcServer; readonly address: string }> => {
    const server = createRpcServer();
    server.add(raftService, { messages, ping: () => Promise.resolve({ nodeId: 'x' }) });
    closers.push(() => server.close());
    const { manager: identity } = cluster;
    const port = await server.listenTls('127.0.0.1:0', { identity, clock: systemClock, ...NOBODY });
    return { server, address: `127.0.0.1:${port}` };
  };
  const call = (address: string, identity: LiveIdentity = cluster.manager, expected: ServerExpectation = {}) => {
    const heard: object[] = [];
    const ends: TsswarmError[] = [];
    const ended = deferred<TsswarmError>();
    let look: () => void = () => undefined;
    const stream = openStream(address, nodeCredentials(identity, expected), raftService.messages, {
      message(message) {
        heard.push(message);
        look();
      },
      end(error) {
        ends.push(error);
        ended.resolve(error);
      },
    });
    closers.push(() => stream.cancel());
    const answers = (count: number): Promise<void> =>
      new Promise((resolve) => {
        look = () => {
          if (heard.length >= count) resolve();
        };
        look();
      });
    return { stream, answers, ends, ended: ended.promise };
  };

  it('carries messages of every size both ways, in order', async () => {
    const sizes: number[] = [];
    const { address } = await serve(async function* (batches) {
      yield {};
      for await (const { messages } of batches) {
        sizes.push((messages[0] as { data: Uint8Array }).data.length);
        yield {};
      }
    });
    const { stream, answers, ends } = call(address);
    await answers(1);
    const sent = [0, 1, 70_000, 3_000_000, 5];
    let written = 0;
    for (const size of sent) {
      const message = { kind: 'install-snapshot', from: 'a', data: Buffer.alloc(size, 1) };
      stream.send({ messages: [message], acknowledge: true }, () => written++);
    }
    await answers(1 + sent.length);
    assert.deepEqual(sizes, sent);
    assert.equal(written, sent.length);
    assert.deepEqual(ends, []);
  });

  it('ends with what the handler says, hint and all', async () => {
    const { address } = await serve(async function* () {
      yield {};
      await Promise.resolve();
      throw new TsswarmError('CONFLICT', 'taking a message: “not now”, 100 % sure', { hint: 'later' });
    });
    const { ended } = call(address);
    const { code, message, hint } = await ended;
    assert.deepEqual(
      { code, message, hint },
      { code: 'CONFLICT', message: 'taking a message: “not now”, 100 % sure', hint: 'later' },
    );
  });

  it('is refused to a worker, and to whoever expects another node', async () => {
    const { address } = await serve(async function* () {
      yield* [];
    });
    const worker = await call(address, await cluster.member('worker')).ended;
    assert.match(`${worker.code} ${worker.message}`, /^PERMISSION_DENIED .*not allowed for the worker/);
    const other = await call(address, cluster.manager, { nodeId: 'other' as never }).ended;
    assert.match(`${other.code} ${other.message}`, /^PERMISSION_DENIED .*another node answers/);
  });

  it('is lost when it ends well, when the server goes, and when nobody is there; it is said once', async () => {
    const done = await serve(async function* () {
      yield {};
    });
    const well = call(done.address);
    assert.match((await well.ended).message, /the other side ended the stream/);
    const standing = await serve(async function* (batches) {
      yield {};
      for await (const _ of batches);
    });
    const cut = call(standing.address);
    await cut.answers(1);
    standing.server.close();
    assert.equal((await cut.ended).code, 'UNAVAILABLE');
    const nobody = createServer();
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
    const { port } = nobody.address() as AddressInfo;
    await new Promise((resolve) => nobody.close(resolve));
    const refused = call(`127.0.0.1:${port}`);
    const { code, message, hint } = await refused.ended;
    assert.equal(code, 'UNAVAILABLE');
    assert.match(message, /ECONNREFUSED/);
    assert.ok(hint !== undefined);
    await new Promise((resolve) => setImmediate(resolve));
    for (const { ends } of [well, cut, refused]) assert.equal(ends.length, 1);
  });

  it('tells nothing after it was given up, and its handler is told', async () => {
    const gone = deferred<void>();
    const { address } = await serve(async function* (_batches, signal) {
      signal.addEventListener('abort', () => gone.resolve());
      yield {};
      await gone.promise;
    });
    const { stream, answers, ends } = call(address);
    await answers(1);
    stream.cancel();
    await gone.promise;
    assert.deepEqual(ends, []);
  });

  it('is not there for an address that is none', () => {
    assert.throws(() => call('nowhere'), /expected <host>:<port>/);
  });
});
