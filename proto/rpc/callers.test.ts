import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import { NOBODY, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import type { CallerKind } from './caller.ts';
import { rightsOf } from './callers.ts';
import { connect } from './client.ts';
import type { Connection } from './client.ts';
import { createLiveIdentity } from './live-identity.ts';
import type { LiveIdentity } from './live-identity.ts';
import { createRpcServer } from './server.ts';
import type { RpcServer } from './server.ts';
import * as definitions from './services.ts';
import type { Method } from './services.ts';
import { joiningCredentials, nodeCredentials } from './tls.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;
type AnyService = Readonly<Record<string, AnyMethod>>;

const SERVICES = Object.entries(definitions).filter(([name]) => name.endsWith('Service')) as [string, AnyService][];
const METHODS = SERVICES.flatMap(([service, methods]) =>
  Object.entries(methods).map(([name, method]) => ({ service, methods, name, method })),
);
const KINDS: readonly CallerKind[] = ['local', 'manager', 'worker', 'anonymous'];

describe('the rights of callers', () => {
  let cluster: CaCluster;
  let server: RpcServer;
  let address: string;
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-callers-'));
  const connections = {} as Record<CallerKind, Connection>;
  const nodeIds: Partial<Record<CallerKind, string>> = {};

  before(async () => {
    cluster = await caCluster();
    server = createRpcServer();
    // Every handler says that it was reached.
    for (const [, methods] of SERVICES) server.add(methods, handlersThat(methods, 'reached') as never);
    const identity = cluster.manager;
    const port = await server.listenTls('127.0.0.1:0', { identity, clock: cluster.clock, ...NOBODY });
    await server.listen(`unix:${join(dir, 'sock')}`);
    address = `127.0.0.1:${port}`;
    const [manager, worker] = [await cluster.member('manager'), await cluster.member('worker')];
    connections.local = connect(`unix:${join(dir, 'sock')}`);
    connections.manager = connect(address, nodeCredentials(manager));
    connections.worker = connect(address, nodeCredentials(worker));
    connections.anonymous = connect(address, joiningCredentials(cluster.cluster().rootCaCertificate));
    nodeIds.manager = manager.node.nodeId;
    nodeIds.worker = worker.node.nodeId;
  });
  after(() => {
    for (const connection of Object.values(connections)) connection.close();
    server.close();
    rmSync(dir, { recursive: true });
  });

  for (const { service, name, method } of METHODS) {
    it(`are decided for ${service}.${name}`, () => assert.ok(rightsOf(method.path)));
  }

  for (const kind of KINDS) {
    it(`are enforced for ${kind} at every method`, async () => {
      for (const { service, methods, name, method } of METHODS) {
        const outcome = await call(connections[kind], methods, name, { nodeId: nodeIds[kind] ?? '' });
        const allowed = rightsOf(method.path)?.callers.includes(kind) === true;
        assert.equal(
          outcome.code,
          allowed ? 'NOT_FOUND' : 'PERMISSION_DENIED',
          `${service}.${name}: ${outcome.message}`,
        );
        assert.match(outcome.message, allowed ? /^reached$/ : /not allowed for/);
      }
    });
  }

  it('let a stranger in nowhere but where a node joins', () => {
    const open = METHODS.filter(({ method }) => rightsOf(method.path)?.callers.includes('anonymous'));
    assert.deepEqual(
      open.map(({ method }) => method.path),
      ['/tsswarm.v1.Ca/GetRootCertificate', '/tsswarm.v1.Ca/IssueCertificate'],
    );
  });

  it('never let a worker into control', () => {
    for (const { path } of Object.values(definitions.controlService))
      assert.ok(!rightsOf(path)?.callers.includes('worker'), path);
  });

  for (const kind of ['worker', 'manager'] as const) {
    it(`hold a ${kind} to its own node`, async () => {
      const own = METHODS.filter(({ method }) => {
        const rights = rightsOf(method.path);
        // Messages of a stream are looked at as the handler reads them, which these here do not (relay.test.ts).
        return rights?.ownNode === true && rights.callers.includes(kind) && !method.requestStream;
      });
      assert.ok(own.length >= 5);
      for (const { methods, name } of own) {
        const outcome = await call(connections[kind], methods, name, { nodeId: 'another' });
        assert.equal(outcome.code, 'PERMISSION_DENIED', name);
        assert.match(outcome.message, /speaks only for itself/);
      }
    });
  }

  it('are those of the caller for whom a manager passes a call on', async () => {
    const behalf = { kind: 'node', role: 'worker', nodeId: nodeIds.worker } as never;
    const passed = connections.manager.service(definitions.controlService, behalf).listNodes({});
    await assert.rejects(passed, (error) => isTsswarmError(error, 'PERMISSION_DENIED'));
    const session = connections.manager.service(definitions.dispatcherService, behalf);
    await assert.rejects(session.heartbeat({ sessionId: 's', nodeId: nodeIds.worker as never }), /reached/);
    const local = connections.manager.service(definitions.daemonService, { kind: 'local' });
    await assert.rejects(local.status({}), /reached/);
  });

  it('cannot be borrowed: only a manager passes calls on', async () => {
    for (const kind of ['worker', 'anonymous', 'local'] as const) {
      const stolen = connections[kind].service(definitions.daemonService, { kind: 'local' }).status({});
      await assert.rejects(
        stolen,
        (error) => isTsswarmError(error, 'PERMISSION_DENIED') && /on behalf/.test(error.message),
      );
    }
  });

  it('must be decided before a service is served', () => {
    const stray = { ping: { ...definitions.daemonService.status, path: '/tsswarm.v1.Stray/Ping' } };
    assert.throws(
      () => createRpcServer().add(stray, { ping: () => Promise.reject(new Error()) }),
      /Stray\/Ping": proto\/rpc\/callers.ts does not say/,
    );
  });

  describe('with a certificate that does not count', () => {
    const problems: readonly [title: string, make: () => Promise<LiveIdentity>, reason: RegExp][] = [
      ['expired', () => cluster.certify('worker', { at: Date.now() - 91 * 24 * 3600_000 }), /has expired at/],
      [
        'not valid yet',
        () => cluster.certify('worker', { at: Date.now() + 2 * 3600_000 }),
        /is valid from .* on, and the clock of the manager says .*: (59m59s|1h) too early/,
      ],
      ['of another cluster', () => foreign(), /not issued by this cluster/],
      [
        'of another cluster under the same root',
        () => cluster.certify('worker', { clusterId: 'elsewhere' }),
        /not issued by this cluster/,
      ],
    ];
    for (const [title, make, reason] of problems) {
      it(`say what is wrong: ${title}`, async () => {
        const identity = await make();
        // What the client checks is not what is tested here: it trusts the server's root.
        const roots = cluster.cluster().rootCaCertificate;
        const { node } = cluster.manager;
        const live = { ...createLiveIdentity({ ...identity.current, roots }), node };
        const connection = connect(address, nodeCredentials(live));
        const outcome = await call(connection, definitions.dispatcherService, 'heartbeat', { nodeId: 'x' });
        connection.close();
        assert.equal(outcome.code, 'PERMISSION_DENIED', outcome.message);
        assert.match(outcome.message, reason);
        assert.ok(outcome.hint);
      });
    }
  });
});

async function foreign(): Promise<LiveIdentity> {
  const other = await caCluster(2);
  return other.member('manager');
}

function handlersThat(methods: AnyService, message: string): Record<string, unknown> {
  const error = (): TsswarmError => new TsswarmError('NOT_FOUND', message);
  return Object.fromEntries(
    Object.entries(methods).map(([name, { responseStream }]) => [
      name,

      responseStream
        ? async function* () {
            throw error();
          }
        : () => Promise.reject(error()),
    ]),
  );
}

/** Calls a method of any kind, and says how it ended. */
async function call(
  connection: Connection,
  service: object,
  name: string,
  request: object,
): Promise<{ code: string; message: string; hint: string | undefined }> {
  const method = (service as AnyService)[name] as AnyMethod;
  const client = connection.service(service as AnyService) as unknown as Record<
    string,
    (...args: unknown[]) => unknown
  >;
  try {
    const result = method.requestStream ? client[name]?.() : client[name]?.(request);
    if (!method.responseStream) await result;
    else for await (const _ of streamOf(result));
    return { code: 'OK', message: '', hint: undefined };
  } catch (error) {
    if (isTsswarmError(error)) return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
}

function streamOf(result: unknown): AsyncIterable<unknown> {
  return (result as { output?: AsyncIterable<unknown> }).output ?? (result as AsyncIterable<unknown>);
}
