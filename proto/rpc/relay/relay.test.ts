import assert from 'node:assert/strict';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import { seededRandom } from '../../../base/random.ts';
import { NOBODY, caCluster } from '../../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../../test/builders/ca-cluster.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import type { RelayCall } from '../../types/index.ts';
import { connect } from '../client.ts';
import type { Connection, ServiceClient } from '../client.ts';
import type { LiveIdentity } from '../live-identity.ts';
import { createRpcServer } from '../server.ts';
import type { RpcServer } from '../server.ts';
import { relayService, tasksService } from '../services.ts';
import { nodeCredentials } from '../tls.ts';
import { answerCall, methodsOf } from './answer.ts';
import { createRelayHub } from './hub.ts';
import type { RelayHub } from './hub.ts';

const { containers, logs, exec, attach } = tasksService;
const SERVED = { containers, logs, exec, attach };
const MEBIBYTE = 1 << 20;

describe('the relay', () => {
  let cluster: CaCluster;
  let server: RpcServer;
  let hub: RelayHub;
  let worker: LiveIdentity;
  let connection: Connection;
  let address: string;
  let life: AbortController;
  const clock = new VirtualClock();
  /** Chunks of a log that the node has produced. */
  let produced = 0;
  let gone: PromiseWithResolvers<void>;

  const methods = methodsOf(SERVED, {
    containers: () => Promise.resolve({ containers: [] }),
    async *logs({ tail, follow }, signal) {
      try {
        for (produced = 0; produced < tail; produced++)
          yield { stream: 'stdout' as const, time: String(produced), data: Buffer.alloc(64 * 1024) };
        if (follow) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        else throw new TsswarmError('NOT_FOUND', 'reading: no more', { hint: 'none' });
      } finally {
        gone.resolve();
      }
    },
    async *exec(input, signal) {
      signal.addEventListener('abort', () => gone.resolve());
      for await (const { stdin } of input) if (stdin) yield { stdout: stdin };
      yield { exit: { code: 7, oomKilled: false } };
    },
    // Takes nothing of what is sent.
    async *attach(_, signal) {
      yield { stdout: Buffer.from('here') };
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      gone.resolve();
    },
  });

  /** A node listens; resolves when it is heard. */
  const listen = async (identity: LiveIdentity, link: Connection): Promise<void> => {
    const relay = link.service(relayService);
    const { nodeId } = identity.node;
    const calls = relay.listen({ nodeId }, life.signal)[Symbol.asyncIterator]();
    await calls.next();
    const serve = async (): Promise<void> => {
      for (;;) {
        const { done, value } = await calls.next();
        if (done === true) return;
        void answerCall(relay, nodeId, value, methods, life.signal);
      }
    };
    serve().catch(() => undefined);
  };
  const node = (): ServiceClient<typeof SERVED> => hub.service(worker.node.nodeId, SERVED);
  const fails = (work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
    assert.rejects(work, (error) => isTsswarmError(error, code) && message.test(error.message));
  const first = async <T>(stream: AsyncIterable<T>): Promise<T> => {
    for await (const value of stream) return value;
    throw new Error('the stream is empty');
  };

  beforeEach(async () => {
    cluster = await caCluster();
    worker = await cluster.member('worker');
    hub = createRelayHub({ clock, random: seededRandom(5) });
    server = createRpcServer();
    server.add(relayService, hub.handlers);
    const port = await server.listenTls('127.0.0.1:0', { identity: cluster.manager, clock: cluster.clock, ...NOBODY });
    address = `127.0.0.1:${port}`;
    connection = connect(address, nodeCredentials(worker));
    life = new AbortController();
    gone = Promise.withResolvers();
    await listen(worker, connection);
  });
  afterEach(() => {
    life.abort(new Error('over'));
    connection.close();
    hub.close();
    server.close();
  });

  it('calls a method of a node that listens, and gets its answer', async () => {
    assert.deepEqual(await node().containers({}), { containers: [], unreachable: [] });
    assert.equal(hub.holds(worker.node.nodeId), true);
    assert.deepEqual(await hub.handlers.holds({ nodeIds: ['x', worker.node.nodeId] }, life.signal, { kind: 'local' }), {
      nodeIds: [worker.node.nodeId],
    });
  });

  it('streams in order, and carries the error at the end with its code and hint', async () => {
    const times: string[] = [];
    const read = async (): Promise<void> => {
      for await (const { time } of node().logs({ taskId: 't', follow: false, tail: 40, since: 0, until: 0 }))
        times.push(time);
    };
    await assert.rejects(read(), (error) => isTsswarmError(error, 'NOT_FOUND') && error.hint === 'none');
    assert.deepEqual(
      times,
      Array.from({ length: 40 }, (_, i) => String(i)),
    );
  });

  it('slows the node down when nobody reads, and holds up no other call', async () => {
    const slow = node().logs({ taskId: 't', follow: true, tail: 300, since: 0, until: 0 })[Symbol.asyncIterator]();
    await slow.next();
    for (let i = 0; i < 20; i++) await node().containers({});
    assert.ok(produced * 64 * 1024 < 4 * MEBIBYTE, `${produced} chunks are on their way`);
    for (let i = 1; i < 300; i++) assert.equal((await slow.next()).value?.time, String(i));
    await slow.return?.();
    await gone.promise;
  });

  it('carries both directions, the end of the input and the exit', async () => {
    const call = node().exec();
    const seen: string[] = [];
    const read = (async () => {
      for await (const { stdout, exit } of call.output) seen.push(exit ? `exit ${exit.code}` : String(stdout));
    })();
    await call.send({ stdin: Buffer.from('a') });
    await call.send({ stdin: Buffer.from('b') });
    call.end();
    await read;
    assert.deepEqual(seen, ['a', 'b', 'exit 7']);
  });

  it('ends the work of the node when the caller leaves', async () => {
    const leave = new AbortController();
    const reading = first(
      (async function* () {
        for await (const entry of node().logs({ taskId: 't', follow: true, tail: 0, since: 0, until: 0 }, leave.signal))
          yield entry;
      })(),
    );
    await node().containers({});
    leave.abort(new Error('left'));
    await assert.rejects(reading, /left/);
    await gone.promise;
  });

  it('ends it also when the node has not read what was sent', async () => {
    const call = node().attach();
    const output = call.output[Symbol.asyncIterator]();
    assert.deepEqual(String((await output.next()).value?.stdout), 'here');
    const sending = (async () => {
      for (let i = 0; i < 64; i++) await call.send({ stdin: Buffer.alloc(64 * 1024) });
    })();
    sending.catch(() => undefined);
    await node().containers({});
    call.cancel();
    await gone.promise;
    await fails(sending, 'CANCELLED', /the stream has ended/);
  });

  it('tells at once that a node is lost', async () => {
    const reading = first(node().logs({ taskId: 't', follow: true, tail: 0, since: 0, until: 0 }));
    await node().containers({});
    life.abort(new Error('switched off'));
    await fails(reading, 'UNAVAILABLE', /talking to node/);
  });

  it('refuses a call of a node that does not listen', async () => {
    await fails(hub.service('other', SERVED).containers({}), 'UNAVAILABLE', /not connected to this manager/);
  });

  it('gives up a node that listens and does not answer', async () => {
    const mute = await cluster.member('worker');
    const link = connect(address, nodeCredentials(mute));
    const calls = link.service(relayService).listen({ nodeId: mute.node.nodeId })[Symbol.asyncIterator]();
    await calls.next();
    const asked = hub.service(mute.node.nodeId, SERVED).containers({});
    const failure = fails(asked, 'UNAVAILABLE', /does not answer/);
    await settle();
    await clock.advance(5_001);
    await failure;
    link.close();
  });

  it('lets no node answer what another was asked', async () => {
    const thief = await cluster.member('worker');
    const victim = await cluster.member('worker');
    const [own, other] = [connect(address, nodeCredentials(victim)), connect(address, nodeCredentials(thief))];
    const calls = own.service(relayService).listen({ nodeId: victim.node.nodeId })[Symbol.asyncIterator]();
    await calls.next();
    const asked = hub.service(victim.node.nodeId, SERVED).containers({});
    const { callId } = (await calls.next()).value as RelayCall;
    const stolen = other.service(relayService).answer();
    await stolen.send({ nodeId: thief.node.nodeId, callId });
    await fails(first(stolen.output), 'NOT_FOUND', /nobody waits for it/);
    const posing = other.service(relayService).answer();
    await posing.send({ nodeId: victim.node.nodeId, callId });
    await fails(first(posing.output), 'PERMISSION_DENIED', /a node speaks only for itself/);
    const answer = own.service(relayService).answer();
    await answer.send({ nodeId: victim.node.nodeId, callId });
    await answer.send({ nodeId: victim.node.nodeId, callId, message: new Uint8Array() });
    await answer.send({ nodeId: victim.node.nodeId, callId, done: true });
    assert.deepEqual((await asked).containers, []);
    for (const link of [own, other]) link.close();
  });
});
