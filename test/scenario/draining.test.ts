import assert from 'node:assert/strict';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { NodeId } from '../../base/ids.ts';
import { createDispatcher } from '../../manager/dispatcher/server.ts';
import type { Dispatcher } from '../../manager/dispatcher/server.ts';
import { WITHDRAWAL_LIMIT_MS } from '../../manager/dispatcher/withdrawals.ts';
import { memoryStore } from '../../manager/store/memory.ts';
import type { Store } from '../../manager/store/types.ts';
import type { AssignmentChange, Task } from '../../proto/types/index.ts';
import { network, node, service, task } from '../builders/objects.ts';
import { networkSpec } from '../builders/specs.ts';
import { VirtualClock } from '../fakes/virtual-clock.ts';

const NET = network('default', { spec: networkSpec('default', { driver: 'overlay' }) });
const WEB = service('web', { ports: [{ target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' }] });
const TASK = task(WEB, 1, {}, { nodeId: 'a' as NodeId, addresses: [{ networkId: NET.id, ipv4: '10.128.0.2' }] });

describe('stopping a task that other nodes lead to', () => {
  const life = new AbortController();
  let clock: VirtualClock;
  let store: Store;
  let dispatcher: Dispatcher;
  beforeEach(async () => {
    clock = new VirtualClock();
    store = memoryStore(clock);
    dispatcher = createDispatcher({ store, clock, random: seededRandom(1), logger: silentLogger });
    await store.update((tx) => {
      for (const id of ['a', 'b']) tx.create('node', node(id));
      tx.create('network', NET);
      tx.create('service', WEB);
      tx.create('task', TASK);
    });
  });
  afterEach(() => dispatcher.close());

  /** A node with a session; `acknowledge` answers the newest message. */
  const join = async (id: string) => {
    const nodeId = id as NodeId;
    const session = dispatcher.handlers
      .session({ nodeId, description: node(id).description, acknowledges: true }, life.signal)
      [Symbol.asyncIterator]();
    const first = await session.next();
    assert.ok(first.done !== true);
    void session.next().catch(() => undefined);
    const { sessionId } = first.value;
    const changes: AssignmentChange[] = [];
    const reading = async (): Promise<void> => {
      for await (const change of dispatcher.handlers.assignments({ sessionId, nodeId }, life.signal))
        changes.push(change);
    };
    void reading().catch(() => undefined);
    await clock.advance(5);
    return {
      changes,
      acknowledge: async () => {
        await dispatcher.handlers.acknowledge(
          { sessionId, nodeId, sequence: changes.at(-1)?.sequence ?? 0 },
          life.signal,
        );
        await clock.advance(5);
      },
      beat: () => dispatcher.handlers.heartbeat({ sessionId, nodeId }, life.signal),
      /** What the node was told last of the task. */
      task: (): Task | undefined => changes.flatMap(({ update }) => update.tasks).at(-1),
    };
  };
  const stop = async (): Promise<void> => {
    await store.update((tx) => tx.update('task', { ...TASK, desiredState: 'shutdown' }));
    await clock.advance(5);
  };

  it('takes it out of the tables of all nodes first', async () => {
    const [a, b] = [await join('a'), await join('b')];
    for (const one of [a, b]) await one.acknowledge();
    await stop();
    assert.deepEqual(a.task()?.draining, true);
    assert.equal(a.task()?.desiredState, 'shutdown');
    assert.deepEqual(b.changes.at(-1)?.update.ingress[0]?.backends, [], 'the port leads to it no more');
    assert.equal(b.changes.at(-1)?.acknowledge, true);
    await b.acknowledge();
    assert.equal(a.task()?.draining, undefined);
    assert.equal(a.task()?.desiredState, 'shutdown');
  });

  it('takes its name away as well', async () => {
    await store.update((tx) => tx.update('service', { ...WEB, ports: [] }));
    await store.update((tx) => tx.create('task', { ...TASK, id: 'other' as Task['id'], nodeId: 'b' as NodeId }));
    const [a, b] = [await join('a'), await join('b')];
    for (const one of [a, b]) await one.acknowledge();
    await stop();
    assert.equal(a.task()?.draining, true);
    assert.deepEqual(b.changes.at(-1)?.remove.endpoints, [`${TASK.id}/${NET.id}`]);
    await b.acknowledge();
    assert.equal(a.task()?.draining, undefined);
  });

  it('does not wait where nobody else knows it', async () => {
    await store.update((tx) => tx.update('service', { ...WEB, ports: [] }));
    const [a, b] = [await join('a'), await join('b')];
    for (const one of [a, b]) await one.acknowledge();
    await stop();
    assert.equal(a.task()?.desiredState, 'shutdown');
    assert.equal(a.task()?.draining, undefined);
  });

  for (const [title, beating] of [
    ['does not wait for a node that is gone', false],
    ['stops it after a while when a node that is there says nothing', true],
  ] as const) {
    it(title, async () => {
      const [a, b] = [await join('a'), await join('b')];
      for (const one of [a, b]) await one.acknowledge();
      await stop();
      assert.equal(a.task()?.draining, true);
      for (let passed = 0; passed <= WITHDRAWAL_LIMIT_MS; passed += 500) {
        await a.beat();
        if (beating) await b.beat();
        await clock.advance(500);
      }
      assert.equal(a.task()?.draining, undefined);
      assert.equal(
        store.view((tx) => tx.get('node', 'b' as NodeId)?.status.state),
        beating ? 'ready' : 'down',
      );
    });
  }
});
