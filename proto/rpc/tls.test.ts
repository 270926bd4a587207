import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { deferred } from '../../base/async.ts';
import { isTsswarmError } from '../../base/errors.ts';
import { NOBODY, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import type { Caller } from './caller.ts';
import { connect } from './client.ts';
import { grpcMethod } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { createLiveIdentity } from './live-identity.ts';
import type { LiveIdentity } from './live-identity.ts';
import { createRpcServer } from './server.ts';
import type { RpcServer } from './server.ts';
import { caService, dispatcherService } from './services.ts';
import { joiningCredentials, nodeCredentials } from './tls.ts';

const DAY = 24 * 3600_000;

describe('rpc over TLS', () => {
  let cluster: CaCluster;
  const servers: RpcServer[] = [];
  const callers: Caller[] = [];

  /** A server with the given identity whose dispatcher notes who calls, and whose sessions last until the caller goes. */
  async function serve(identity: LiveIdentity, host = '127.0.0.1'): Promise<string> {
    const server = createRpcServer();
    servers.push(server);
    server.add(caService, cluster.ca);
    server.add(dispatcherService, {
      async *session(_request, signal, caller) {
        callers.push(caller);
        yield { sessionId: 's', heartbeatMs: 1, managers: [] };
        const gone = deferred<void>();
        signal.addEventListener('abort', () => gone.resolve());
        await gone.promise;
      },
      heartbeat(_request, _signal, caller) {
        callers.push(caller);
        return Promise.resolve({ heartbeatMs: 7 });
      },
      async *assignments() {},
      acknowledge: () => Promise.resolve({}),
      updateTaskStatus: () => Promise.resolve({}),
    });
    const port = await server.listenTls(`${host}:0`, { identity, clock: cluster.clock, ...NOBODY });
    return `127.0.0.1:${port}`;
  }

  async function heartbeat(address: string, identity: LiveIdentity): Promise<number> {
    const connection = connect(address, nodeCredentials(identity));
    try {
      const { nodeId } = identity.node;
      return (await connection.service(dispatcherService).heartbeat({ sessionId: 's', nodeId })).heartbeatMs;
    } finally {
      connection.close();
    }
  }

  beforeEach(async () => {
    cluster = await caCluster();
    callers.length = 0;
  });
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
    cluster.close();
  });

  it('tells the handler which node calls', async () => {
    const worker = await cluster.member('worker');
    assert.equal(await heartbeat(await serve(cluster.manager), worker), 7);
    assert.deepEqual(callers, [{ kind: 'node', nodeId: worker.node.nodeId, role: 'worker' }]);
  });

  const bad: readonly [title: string, server: () => Promise<LiveIdentity>, reason: RegExp][] = [
    ['a worker', () => cluster.member('worker'), /it is a worker, expected a manager/],
    ['of another cluster', async () => (await caCluster(2)).manager, /not issued by this cluster/],
    [
      'of another cluster under the same root',
      () => cluster.certify('manager', { clusterId: 'elsewhere' }),
      /belongs to the cluster "elsewhere"/,
    ],
    [
      'expired',
      () => cluster.certify('manager', { at: Date.now() - 91 * DAY }),
      /has expired at .*, and the clock of this machine says .*: 1d.* too late/,
    ],
    [
      'not valid yet',
      () => cluster.certify('manager', { at: Date.now() + DAY }),
      /is valid from .* on, and the clock of this machine says .*: (22h59m|23h) too early/,
    ],
  ];
  for (const [title, server, reason] of bad) {
    it(`refuses a server that is ${title}`, async () => {
      const address = await serve(await server());
      await assert.rejects(heartbeat(address, cluster.manager), (error) => {
        assert.ok(isTsswarmError(error, 'PERMISSION_DENIED'), String(error));
        assert.match(error.message, reason);
        return true;
      });
      assert.deepEqual(callers, []);
    });
  }

  it('can ask for one node and refuses every other', async () => {
    const address = await serve(cluster.manager);
    const expected = { nodeId: 'someoneelse' as never };
    const connection = connect(address, nodeCredentials(cluster.manager, expected));
    await assert.rejects(connection.service(caService).getRootCertificate({}), /another node answers/);
    connection.close();
  });

  it('can ask for any node, as workers serve too', async () => {
    const address = await serve(await cluster.member('worker'));
    const connection = connect(address, nodeCredentials(cluster.manager, { role: 'any' }));
    assert.ok(await connection.service(caService).getRootCertificate({}));
    connection.close();
  });

  it('speaks nothing below TLS 1.3, and nothing in the clear', async () => {
    const port = Number((await serve(cluster.manager)).split(':')[1]);
    const ended = deferred<string>();
    const old = tlsConnect({
      port,
      host: '127.0.0.1',
      maxVersion: 'TLSv1.2',
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    });
    old.on('error', (error: NodeJS.ErrnoException) => ended.resolve(error.code ?? ''));
    old.on('secureConnect', () => ended.resolve('connected'));
    assert.match(await ended.promise, /ERR_SSL/);
    const closed = deferred<number>();
    let received = 0;
    const plain = tcpConnect(port, '127.0.0.1', () => plain.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
    plain.on('data', (bytes) => (received += bytes.length));
    plain.on('error', () => undefined);
    plain.on('close', () => closed.resolve(received));
    // At most a TLS alert (7 bytes) comes back.
    assert.ok((await closed.promise) <= 7);
  });

  it('takes only small messages from strangers', async () => {
    const address = await serve(cluster.manager);
    const connection = connect(address, joiningCredentials(cluster.cluster().rootCaCertificate));
    const large = { csr: 'x'.repeat(100_000), token: '', availability: 'active', address: '', wallTime: 0 } as const;
    await assert.rejects(connection.service(caService).issueCertificate(large), (error) =>
      isTsswarmError(error, 'TOO_LARGE'),
    );
    connection.close();
  });

  it('uses a new server certificate for new connections and keeps those that are there', async () => {
    const address = await serve(cluster.manager);
    const worker = await cluster.member('worker');
    const { nodeId } = worker.node;
    const connection = connect(address, nodeCredentials(worker));
    const controller = new AbortController();
    const session = connection
      .service(dispatcherService)
      .session({ nodeId } as never, controller.signal)
      [Symbol.asyncIterator]();
    await session.next();
    const before = await serialAt(address);
    cluster.manager.replace((await cluster.certify('manager')).current);
    assert.notEqual(await serialAt(address), before);
    // The first connection still answers, and its session is still there.
    assert.equal((await connection.service(dispatcherService).heartbeat({ sessionId: 's', nodeId })).heartbeatMs, 7);
    const next = session.next().catch((error: unknown) => error);
    controller.abort(new Error('enough'));
    assert.match(String(await next), /enough/);
    connection.close();
  });

  it('uses a new client certificate for new calls and lets those under way go on', async () => {
    const address = await serve(cluster.manager);
    const worker = await cluster.member('worker');
    const { nodeId } = worker.node;
    const connection = connect(address, nodeCredentials(worker));
    const dispatcher = connection.service(dispatcherService);
    const controller = new AbortController();
    const session = dispatcher.session({ nodeId } as never, controller.signal)[Symbol.asyncIterator]();
    await session.next();
    await cluster.setRole(nodeId, 'manager');
    worker.replace((await cluster.renew(worker)).current);
    await dispatcher.heartbeat({ sessionId: 's', nodeId });
    assert.deepEqual(
      callers.map((caller) => (caller.kind === 'node' ? caller.role : caller.kind)),
      ['worker', 'manager'],
    );
    const next = session.next().then(
      () => 'ended',
      (error: unknown) => String(error),
    );
    // Had the old connection been dropped, the session would have ended by itself before this.
    await dispatcher.heartbeat({ sessionId: 's', nodeId });
    controller.abort(new Error('enough'));
    assert.match(await next, /enough/);
    connection.close();
  });

  it('never takes one connection for another that comes from the same address and port', async () => {
    const port = (await serve(cluster.manager, '0.0.0.0')).split(':')[1] ?? '';
    const [worker, manager] = [await cluster.member('worker'), await cluster.member('manager')];
    // Linux lets both use the port, as they go to different addresses.
    const first = await dial('127.0.0.1', port, worker);
    const second = await dial('127.0.0.2', port, manager, first.localPort);
    assert.equal(second.localPort, first.localPort);
    for (const { heartbeat } of [second, first]) await heartbeat();
    assert.deepEqual(
      callers.map((caller) => (caller.kind === 'node' ? caller.nodeId : caller.kind)),
      [manager.node.nodeId, worker.node.nodeId],
    );
    first.close();
    second.close();
  });

  it('refuses new calls on a connection whose certificate has expired meanwhile', async () => {
    const address = await serve(cluster.manager);
    const worker = await cluster.member('worker');
    const connection = connect(address, nodeCredentials(worker));
    const dispatcher = connection.service(dispatcherService);
    const beat = { sessionId: 's', nodeId: worker.node.nodeId };
    await dispatcher.heartbeat(beat);
    await cluster.clock.advance(91 * DAY);
    await assert.rejects(dispatcher.heartbeat(beat), /certificate has expired at/);
    connection.close();
  });

  it('says when the port is taken', async () => {
    const address = await serve(cluster.manager);
    const other = createRpcServer();
    const listening = other.listenTls(address, {
      identity: cluster.manager,
      clock: cluster.clock,
      ...NOBODY,
    });
    await assert.rejects(listening, (error) => isTsswarmError(error, 'PORT_IN_USE'));
    other.close();
  });

  it('never listens on TCP without TLS', async () => {
    await assert.rejects(createRpcServer().listen('127.0.0.1:0'), /only on a unix socket/);
  });

  it('keeps the old identity when the new one is unusable', () => {
    const live = createLiveIdentity(cluster.manager.current);
    assert.throws(() => live.replace({ ...live.current, certificate: cluster.cluster().rootCaCertificate }));
    assert.equal(live.node.role, 'manager');
  });
});

/** Serial number of the certificate that a new connection is shown. */
function serialAt(address: string): Promise<string> {
  const [host = '', port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

interface Dialled {
  readonly localPort: number;
  heartbeat(): Promise<void>;
  close(): void;
}

/** A gRPC client by hand, as the library lets nobody choose the port that a connection comes from. */
async function dial(host: string, port: string, identity: LiveIdentity, localPort?: number): Promise<Dialled> {
  const plain = tcpConnect({
    host,
    port: Number(port),
    localAddress: '127.0.0.1',
    ...(localPort === undefined ? {} : { localPort }),
  });
  await once(plain, 'connect');
  const from = plain.localPort ?? 0;
  const { certificate: cert, key } = identity.current;
  const socket = tlsConnect({ socket: plain, cert, key, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const session = http2Connect('https://x', { createConnection: () => socket });
  const { path, requestSerialize } = grpcMethod(dispatcherService.heartbeat as AnyMethod);
  return {
    localPort: from,
    async heartbeat() {
      const message = requestSerialize({ sessionId: 's', nodeId: identity.node.nodeId });
      const frame = Buffer.alloc(5 + message.length);
      frame.writeUInt32BE(message.length, 1);
      message.copy(frame, 5);
      const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request(headers);
      stream.end(frame);
      stream.resume();
      const [trailers] = (await once(stream, 'trailers')) as [Record<string, string>];
      assert.equal(trailers['grpc-status'], '0', trailers['grpc-message']);
    },
    close() {
      session.destroy();
    },
  };
}
