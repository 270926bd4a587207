import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { A_DESCRIPTION } from '../../test/builders/ca-cluster.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { bootstrapCluster } from '../ca/bootstrap.ts';
import { memoryStore } from '../store/index.ts';
import type { Store } from '../store/types.ts';
import { createDispatcher } from './server.ts';

/** A clock whose process can be held up: time goes on, and its timers fire late. */
class HeldUpClock extends VirtualClock {
  heldUpMs = 0;

  override monotonic(): number {
    return super.monotonic() + this.heldUpMs;
  }
}

/** A dispatcher with a manager "m", and workers that open sessions. */
async function cluster() {
  const clock = new HeldUpClock();
  const [store, random] = [memoryStore(clock), seededRandom(1)];
  const nodeId = 'm' as NodeId;
  await bootstrapCluster({ store, clock, random, nodeId, description: A_DESCRIPTION, addressPools: [] });
  /** How long the disks take, from now on. */
  const disks = { ready: Promise.resolve() };
  const slow: Store = {
    ...store,
    async update(change) {
      const { ready } = disks;
      await ready;
      return store.update(change);
    },
  };
  const dispatcher = createDispatcher({ store: slow, clock, random, logger: silentLogger });
  const open = async (id: string, leaseMs?: number) => {
    const life = new AbortController();
    const request = { nodeId: id, description: A_DESCRIPTION, ...(leaseMs === undefined ? {} : { leaseMs }) };
    const stream = dispatcher.handlers.session(request, life.signal)[Symbol.asyncIterator]();
    const first = await stream.next();
    assert.ok(first.done !== true);
    const { sessionId, leaseMs: given } = first.value;
    const ended = stream.next().then(
      () => 'ended',
      (error: unknown) => String(error),
    );
    return {
      given,
      ended,
      beat: (held?: number, goodbye?: boolean) =>
        dispatcher.handlers.heartbeat(
          {
            sessionId,
            nodeId: id,
            ...(held === undefined ? {} : { leaseMs: held }),
            ...(goodbye === undefined ? {} : { goodbye }),
          },
          life.signal,
        ),
      report: () =>
        dispatcher.handlers.updateTaskStatus(
          { sessionId, nodeId: id, updates: [], removedVolumes: [], removedNetworks: [] },
          life.signal,
        ),
      acknowledge: () => dispatcher.handlers.acknowledge({ sessionId, nodeId: id, sequence: 0 }, life.signal),
      async hangUp() {
        life.abort(new Error('the caller is gone'));
        await settle();
      },
    };
  };
  return {
    clock,
    store,
    disks,
    dispatcher,
    open,
    node: (id: string) => store.view((tx) => tx.get('node', id as NodeId)?.status),
    isOver: (id: string) => dispatcher.leases.isOver(id as NodeId, clock.monotonic()),
  };
}

describe('sessions', () => {
  it('say which images their nodes have; no other change forgets them', async () => {
    const { store, dispatcher } = await cluster();
    const images = () => store.view((tx) => tx.get('node', 'w' as NodeId)?.images);
    const session = async (keys?: readonly string[]): Promise<string> => {
      const request = { nodeId: 'w', description: A_DESCRIPTION, ...(keys === undefined ? {} : { images: { keys } }) };
      const first = await dispatcher.handlers
        .session(request, new AbortController().signal)
        [Symbol.asyncIterator]()
        .next();
      return first.done === true ? '' : first.value.sessionId;
    };
    const beat = (sessionId: string, keys?: readonly string[]) =>
      dispatcher.handlers.heartbeat(
        { sessionId, nodeId: 'w', ...(keys === undefined ? {} : { images: { keys } }) },
        new AbortController().signal,
      );
    let id = await session(['a']);
    assert.deepEqual(images(), ['a']);
    await beat(id, ['a', 'b']);
    await beat(id);
    assert.deepEqual(images(), ['a', 'b']);
    id = await session();
    assert.deepEqual(images(), ['a', 'b'], 'a node of an older version says nothing');
    const version = store.view((tx) => tx.version);
    await beat(id, ['a', 'b']);
    assert.equal(
      store.view((tx) => tx.version),
      version,
      'nothing is written for what is known',
    );
    await beat(
      id,
      Array.from({ length: 5000 }, (_, i) => String(i)),
    );
    assert.equal(images()?.length, 400);
  });

  it('that begin anew are no loss of the node', async () => {
    const { clock, open, node } = await cluster();
    const first = await open('w');
    await clock.advance(1000);
    await first.hangUp();
    assert.equal(node('w')?.state, 'ready');
    await clock.advance(3000);
    const second = await open('w');
    await clock.advance(4400);
    assert.equal(node('w')?.state, 'ready', 'counted from the new session');
    await clock.advance(101);
    await settle();
    assert.equal(node('w')?.state, 'down');
    assert.match(node('w')?.message ?? '', /heartbeat failure: silent for 4.5s/);
    assert.match(await second.ended, /heartbeat failure/);
  });

  it('that another one has followed are over: nothing is taken in them any more', async () => {
    const { open } = await cluster();
    const first = await open('w');
    const second = await open('w');
    await assert.rejects(first.beat(), { code: 'NOT_FOUND' });
    await second.beat();
    assert.match(await first.ended, /another session/);
  });

  it('begin when what the node has said in the one before is written down', async () => {
    const { disks, open } = await cluster();
    const first = await open('w');
    const disk = Promise.withResolvers<void>();
    disks.ready = disk.promise;
    const report = first.report();
    disks.ready = Promise.resolve();
    let begun = false;
    const second = open('w').then((session) => {
      begun = true;
      return session;
    });
    await settle();
    assert.equal(begun, false);
    disk.resolve();
    await Promise.all([report, second]);
  });

  it('of a manager that was held up itself are given the time to be heard, once', async () => {
    const { clock, open, node } = await cluster();
    const heard = await open('heard');
    await open('silent');
    await clock.advance(4000);
    clock.heldUpMs = 3000;
    await clock.advance(600);
    assert.equal(node('heard')?.state, 'ready');
    await heard.beat();
    await clock.advance(2950);
    await settle();
    assert.equal(node('heard')?.state, 'ready');
    assert.equal(node('silent')?.state, 'down');
  });

  it('are heard in everything that they say', async () => {
    const { clock, open, node } = await cluster();
    const session = await open('w');
    for (const say of [session.report, session.acknowledge, session.report]) {
      await clock.advance(4000);
      await say();
    }
    await clock.advance(4400);
    assert.equal(node('w')?.state, 'ready');
    await clock.advance(200);
    await settle();
    assert.equal(node('w')?.state, 'down');
  });

  it('that end are a loss when no other one comes', async () => {
    const { clock, open, node } = await cluster();
    const session = await open('w');
    await session.hangUp();
    await clock.advance(4499);
    assert.equal(node('w')?.state, 'ready');
    await clock.advance(2);
    await settle();
    assert.equal(node('w')?.state, 'down');
  });

  it('that end with a goodbye say so at once, and leave the lease as it is', async () => {
    const { clock, open, node, isOver } = await cluster();
    const session = await open('w');
    await session.beat(5500, true);
    assert.deepEqual([node('w')?.state, node('w')?.message], ['down', 'its daemon was stopped']);
    assert.equal(isOver('w'), false);
    await clock.advance(6549);
    assert.equal(isOver('w'), false);
    await clock.advance(1);
    assert.equal(isOver('w'), true);
  });

  it('that begin while others are found to be lost are not counted among them', async () => {
    const { clock, store, dispatcher, open, node } = await cluster();
    await store.update((tx) => {
      const known = tx.get('node', 'm' as NodeId);
      assert.ok(known !== undefined);
      for (const id of ['a', 'b']) {
        const status = { state: 'ready' as const, message: '', address: '' };
        tx.create('node', { ...known, id: id as NodeId, status });
      }
    });
    // From here on writing takes until it is let go on.
    const disk = Promise.withResolvers<void>();
    const { update } = store;
    store.update = async (write) => {
      await disk.promise;
      return update(write);
    };
    void dispatcher.takeOver(new AbortController().signal);
    await clock.advance(9001);
    const opening = open('b');
    await settle();
    disk.resolve();
    await opening;
    await settle();
    assert.deepEqual([node('a')?.state, node('b')?.state], ['down', 'ready']);
    dispatcher.close();
  });

  it('give a lease without end to the only manager, and store what was promised', async () => {
    const { open, node } = await cluster();
    assert.equal((await open('m')).given, 0);
    assert.equal((await open('w')).given, 5500);
    assert.deepEqual([node('m')?.leaseMs, node('w')?.leaseMs], [0, 5500]);
  });

  it('take a lease without end back only when the node has said so', async () => {
    const { clock, open, node, isOver, store } = await cluster();
    const session = await open('m', 0);
    await store.update((tx) => {
      const known = tx.get('node', 'm' as NodeId);
      assert.ok(known !== undefined);
      tx.create('node', { ...known, id: 'm2' as NodeId });
    });
    assert.equal((await session.beat(0)).leaseMs, 5500, 'another manager is there now');
    assert.equal(node('m')?.leaseMs, 0, 'it may not have heard it');
    await clock.advance(4000);
    assert.equal((await session.beat(5500)).leaseMs, 5500);
    assert.equal(node('m')?.leaseMs, 5500);
    await clock.advance(6550);
    assert.equal(isOver('m'), true);
  });
});
