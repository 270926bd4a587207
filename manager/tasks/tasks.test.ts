import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { NodeId, TaskId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import { LOCAL_CALLER } from '../../proto/rpc/caller.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { Connection } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { answerCall, methodsOf } from '../../proto/rpc/relay/answer.ts';
import { createRelayHub } from '../../proto/rpc/relay/hub.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import { relayService, tasksService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import type { ProcessInput } from '../../proto/types/index.ts';
import { NOBODY, caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { node as nodeObject, service, task } from '../../test/builders/objects.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../store/index.ts';
import type { Store } from '../store/types.ts';
import { createTaskRouter } from './server.ts';

type Tasks = ServiceHandlers<typeof tasksService>;

/** What a node does for its own tasks: it says who it is. */
function tasksOf(name: string): Tasks {
  const refuse = (): never => {
    throw new Error('not asked for');
  };
  return {
    containers: ({ taskIds = [] }) =>
      Promise.resolve({
        containers: taskIds.map((taskId) => ({
          taskId,
          containerId: name,
          argv: [],
          createdAt: 0,
          startedAt: 0,
          finishedAt: 0,
        })),
      }),
    async *logs({ follow }, signal) {
      yield { stream: 'stdout', time: '', data: Buffer.from(name) };
      if (follow) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    },
    async *exec(inputs) {
      for await (const { exec, stdin } of inputs) {
        if (exec !== undefined) yield { stdout: Buffer.from(name) };
        if (stdin !== undefined) yield { stdout: stdin };
      }
      yield { exit: { code: 5, oomKilled: false } };
    },
    async *attach() {
      yield { stdout: Buffer.from(name) };
    },
    doctor: () => Promise.resolve({ checks: [{ name, subject: '', status: 'ok', message: '', hint: '' }] }),
    rotateKey: () => Promise.resolve({ result: 'begun' }),
    top: () => Promise.resolve({ titles: [name], processes: [] }),
    stats: refuse,
    statPath: refuse,
    copyFrom: refuse,
    copyTo: refuse,
  };
}

describe('tasks on other nodes', () => {
  let cluster: CaCluster;
  let clock: VirtualClock;
  let store: Store;
  let a: Awaited<ReturnType<typeof manager>>;
  let b: Awaited<ReturnType<typeof manager>>;
  let worker: LiveIdentity;
  let link: Connection;
  const closers: (() => void)[] = [];
  const never = new AbortController().signal;
  const web = service('web');

  /** A manager with a port of its own; the others are reached at theirs. */
  async function manager(identity: LiveIdentity, addresses: Map<NodeId, string>) {
    const { nodeId } = identity.node;
    const hub = createRelayHub({ clock, random: seededRandom(3) });
    const open = new Map<NodeId, Connection>();
    const connection = (id: NodeId): Connection | undefined => {
      const address = addresses.get(id);
      if (address === undefined) return undefined;
      if (!open.has(id)) open.set(id, connect(address, nodeCredentials(identity, { nodeId: id })));
      return open.get(id);
    };
    const router = createTaskRouter({
      nodeId,
      store,
      clock,
      hub,
      local: tasksOf(nodeId),
      isHere: (taskId) => store.view((tx) => tx.get('task', taskId as TaskId))?.nodeId === nodeId,
      managers: () => [...addresses.keys()].filter((id) => id !== nodeId),
      manager: connection,
    });
    const server = createRpcServer();
    server.add(tasksService, router);
    server.add(relayService, hub.handlers);
    const port = await server.listenTls('127.0.0.1:0', { identity, clock: cluster.clock, ...NOBODY });
    addresses.set(nodeId, `127.0.0.1:${port}`);
    closers.push(() => {
      for (const one of open.values()) one.close();
      hub.close();
      server.close();
    });
    return { nodeId, router, hub, address: `127.0.0.1:${port}` };
  }

  /** The worker listens at a manager. */
  async function listen(at: string): Promise<void> {
    const { nodeId } = worker.node;
    link = connect(at, nodeCredentials(worker));
    closers.push(() => link.close());
    const relay = link.service(relayService);
    const calls = relay.listen({ nodeId })[Symbol.asyncIterator]();
    await calls.next();
    const serve = async (): Promise<void> => {
      for (;;) {
        const { done, value } = await calls.next();
        if (done === true) return;
        void answerCall(relay, nodeId, value, methodsOf(tasksService, tasksOf(nodeId)), never);
      }
    };
    serve().catch(() => undefined);
  }

  const put = (id: string, nodeId: string): Promise<void> =>
    store.update((tx) => {
      const made = task(web, 1, {}, { id: id as TaskId, nodeId: nodeId as NodeId });
      const known = tx.get('task', id as TaskId);
      if (known === undefined) tx.create('task', made);
      else tx.update('task', { ...known, nodeId: nodeId as NodeId });
    });
  const setNode = (id: string, state: 'ready' | 'down'): Promise<void> =>
    store.update((tx) => {
      const known = tx.get('node', id as NodeId);
      const made = nodeObject(id, {}, { status: { state } });
      if (known === undefined) tx.create('node', made);
      else tx.update('node', { ...known, status: made.status });
    });
  const LOGS = { follow: false, tail: -1, since: 0, until: 0 };
  /** Who answers. */
  const answerer = async (
    router: Tasks,
    taskId: string,
    signal = never,
    caller: Caller = LOCAL_CALLER,
  ): Promise<string> => {
    for await (const { data } of router.logs({ ...LOGS, taskId }, signal, caller)) return Buffer.from(data).toString();
    return '';
  };
  const fails = (work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
    assert.rejects(work, (error) => isTsswarmError(error, code) && message.test(error.message));

  beforeEach(async () => {
    cluster = await caCluster();
    clock = new VirtualClock();
    store = memoryStore(clock);
    const addresses = new Map<NodeId, string>();
    a = await manager(cluster.manager, addresses);
    b = await manager(await cluster.member('manager'), addresses);
    worker = await cluster.member('worker');
    for (const id of [a.nodeId, b.nodeId, worker.node.nodeId]) await setNode(id, 'ready');
    await put('on-a', a.nodeId);
    await put('on-b', b.nodeId);
    await put('on-worker', worker.node.nodeId);
  });
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  it('are reached at every manager: on itself, on another, on a worker that another holds', async () => {
    await listen(b.address);
    for (const { router } of [a, b]) {
      assert.equal(await answerer(router, 'on-a'), a.nodeId);
      assert.equal(await answerer(router, 'on-b'), b.nodeId);
      assert.equal(await answerer(router, 'on-worker'), worker.node.nodeId);
      const { titles } = await router.top({ taskId: 'on-worker' }, never, LOCAL_CALLER);
      assert.deepEqual(titles, [worker.node.nodeId]);
    }
  });

  it('take input over two steps, and answer with the exit', async () => {
    await listen(b.address);
    const inputs = (async function* (): AsyncIterable<ProcessInput> {
      yield {
        exec: {
          taskId: 'on-worker',
          argv: ['x'],
          env: [],
          user: '',
          workingDir: '',
          tty: false,
          stdin: true,
          privileged: false,
          detach: false,
        },
      };
      yield { stdin: Buffer.from('in') };
    })();
    const seen: string[] = [];
    for await (const { stdout, exit } of a.router.exec(inputs, never, LOCAL_CALLER))
      seen.push(exit === undefined ? String(stdout) : `exit ${exit.code}`);
    assert.deepEqual(seen, [worker.node.nodeId, 'in', 'exit 5']);
  });

  it('are refused at once when the node is down', async () => {
    await setNode(worker.node.nodeId, 'down');
    await clock.advance(60_000);
    await fails(
      answerer(a.router, 'on-worker'),
      'NODE_UNREACHABLE',
      /reaching task "app-web-1" on node ".*": the node is down/,
    );
  });

  it('are waited for while their node looks for a manager', async () => {
    const asked = answerer(a.router, 'on-worker');
    await settle();
    await listen(a.address);
    assert.equal(await asked, worker.node.nodeId);
  });

  it('are looked for elsewhere where their node once listened, at a link that is cut, and listens no more', async () => {
    const { nodeId } = worker.node;
    const deaf = connect(a.address, nodeCredentials(worker));
    closers.push(() => deaf.close());
    await deaf.service(relayService).listen({ nodeId })[Symbol.asyncIterator]().next();
    await listen(b.address);
    a.hub.forget(nodeId);
    assert.deepEqual([a.hub.holds(nodeId), b.hub.holds(nodeId)], [false, true]);
    assert.equal(await answerer(a.router, 'on-worker'), nodeId);
  });

  it('are given up when it finds none', async () => {
    const failure = fails(answerer(b.router, 'on-worker'), 'NODE_UNREACHABLE', /no manager has a connection/);
    const patience = setInterval(() => void clock.advance(500), 5);
    await failure.finally(() => clearInterval(patience));
  });

  it('end when their node goes down in the middle', async () => {
    await listen(b.address);
    const stream = a.router
      .logs({ ...LOGS, follow: true, taskId: 'on-worker' }, never, LOCAL_CALLER)
      [Symbol.asyncIterator]();
    await stream.next();
    const ending = fails(stream.next(), 'NODE_UNREACHABLE', /the node is down/);
    await setNode(worker.node.nodeId, 'down');
    await settle();
    await clock.advance(5_001);
    await ending;
  });

  it('without a node are refused, or waited for where that was asked', async () => {
    await put('nowhere', '');
    const refused = fails(answerer(a.router, 'nowhere'), 'CONTAINER_NOT_RUNNING', /it is on no node yet/);
    await settle();
    await clock.advance(1_501);
    await refused;
    const waiting = (async () => {
      const inputs = (async function* (): AsyncIterable<ProcessInput> {
        yield { attach: { taskId: 'nowhere', replay: false, wait: true } };
      })();
      for await (const { stdout } of a.router.attach(inputs, never, LOCAL_CALLER)) return String(stdout);
      return '';
    })();
    await settle();
    await clock.advance(60_000);
    await put('nowhere', b.nodeId);
    assert.equal(await waiting, b.nodeId);
  });

  it('that nobody knows are not found', async () => {
    const failure = fails(answerer(a.router, 'stranger'), 'NOT_FOUND', /the cluster has no such task/);
    await settle();
    await clock.advance(1_501);
    await failure;
  });

  it('are listed from all nodes that answer', async () => {
    await setNode(worker.node.nodeId, 'down');
    await clock.advance(60_000);
    const taskIds = ['on-a', 'on-b', 'on-worker'];
    const { containers, unreachable } = await a.router.containers({ taskIds }, never, LOCAL_CALLER);
    assert.deepEqual(
      containers.map(({ taskId, containerId }) => [taskId, containerId]),
      [
        ['on-a', a.nodeId],
        ['on-b', b.nodeId],
      ],
    );
    assert.deepEqual(
      unreachable?.map(({ nodeId }) => nodeId),
      [worker.node.nodeId],
    );
  });

  it('are passed on once only', async () => {
    const via = { kind: 'local', via: b.nodeId } as const;
    await fails(answerer(a.router, 'on-worker', never, via), 'NODE_UNREACHABLE', /no manager has a connection/);
  });

  it('are nothing for workers, and for strangers', async () => {
    const caller = connect(a.address, nodeCredentials(worker));
    closers.push(() => caller.close());
    const tasks = caller.service(tasksService);
    await fails(tasks.top({ taskId: 'on-a' }), 'PERMISSION_DENIED', /not allowed for the worker/);
    await fails(caller.service(relayService).holds({ nodeIds: [] }), 'PERMISSION_DENIED', /not allowed for the worker/);
    const posing = caller.service(relayService).listen({ nodeId: b.nodeId })[Symbol.asyncIterator]();
    await fails(posing.next(), 'PERMISSION_DENIED', /a node speaks only for itself/);
  });
});
