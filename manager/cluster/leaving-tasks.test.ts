import assert from 'node:assert/strict';
import type { NodeId, VolumeId } from '../../base/ids.ts';
import type { Node, NodeAvailability, Task, Volume } from '../../proto/types/index.ts';
import { T0, service, task } from '../../test/builders/objects.ts';
import { silentLogger } from '../../base/log.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../store/index.ts';
import type { ReadTransaction } from '../store/index.ts';
import { drainedTasks } from './drained-tasks.ts';
import { runNodeLoop } from './loop.ts';
import { matchesConstraint } from '../model/constraints.ts';
import { lostTasks } from './lost-tasks.ts';
import type { LostNodes } from './lost-tasks.ts';

const node = (id: string, state: 'ready' | 'down', availability: NodeAvailability = 'active'): Node => ({
  id: id as NodeId,
  meta: { version: 0, createdAt: T0, updatedAt: T0 },
  spec: { role: 'worker', availability, labels: {} },
  description: {
    hostname: id,
    platform: { os: 'linux', architecture: 'x86_64' },
    resources: { nanoCpus: 1e9, memoryBytes: 1 << 30 },
    engine: { version: '1', labels: {} },
  },
  status: { state, message: '', address: '' },
});
const web = service('web', {}, { replicas: 3 });
const on = (id: string, slot: number, change: Partial<Task> = {}, status: Partial<Task['status']> = {}): Task =>
  task(web, slot, status, { nodeId: id as NodeId, ...change });

const aVolume: Volume = {
  id: 'v' as VolumeId,
  meta: { version: 0, createdAt: T0, updatedAt: T0 },
  projectId: '',
  spec: { name: 'data', composeName: 'data', driver: 'local', driverOptions: {}, labels: {} },
  pendingDelete: false,
};
const A_MOUNT = {
  type: 'volume' as const,
  source: 'data',
  target: '/data',
  readOnly: false,
  noCopy: false,
  subpath: '',
  driver: 'local',
  driverOptions: {},
  labels: {},
};

async function see<R>(
  nodes: readonly Node[],
  tasks: readonly Task[],
  look: (tx: ReadTransaction) => R,
  volumes: readonly Volume[] = [],
): Promise<R> {
  const store = memoryStore({ now: () => T0 });
  await store.update((tx) => {
    for (const one of nodes) tx.create('node', one);
    for (const one of tasks) tx.create('task', one);
    for (const one of volumes) tx.create('volume', one);
  });
  return store.view(look);
}
const told = (tasks: readonly Task[]) =>
  tasks.map(({ slot, desiredState, status }) => `${slot} ${desiredState} ${status.state}: ${status.message}`);

const given = (lost: ReadonlySet<string>, isOver = () => true): LostNodes => ({
  lost,
  isOver,
  matches: matchesConstraint,
});

describe('tasks that leave their node', () => {
  it('are given up when it has been down for long, and another could take them', async () => {
    const tasks = [on('a', 1), on('b', 2), on('a', 3, {}, { state: 'failed' })];
    const lost = new Set(['a']);
    const nodes = [node('a', 'down'), node('b', 'ready')];
    assert.deepEqual(told(await see(nodes, tasks, (tx) => lostTasks(tx, given(lost), T0))), [
      '1 shutdown orphaned: its node is down',
    ]);
    const busy = [node('a', 'down'), node('b', 'ready', 'pause')];
    assert.deepEqual(told(await see(busy, tasks, (tx) => lostTasks(tx, given(lost), T0))), [
      '1 running running: its node is down',
    ]);
  });

  it('wait for it where nobody else could take them, which is noted once', async () => {
    const volume = { ...aVolume, nodeIds: ['a' as NodeId] };
    const withVolume = on('a', 3, {}, {});
    const mounts = [{ ...A_MOUNT, source: volume.spec.name }];
    const tasks = [
      on('a', 1, { boundNode: 'a' as NodeId }),
      on('a', 2, { spec: { ...web.spec.task, constraints: ['node.hostname == a'] } }),
      {
        ...withVolume,
        spec: { ...withVolume.spec, container: { ...withVolume.spec.container, mounts } },
      },
      on('a', 4, { boundNode: 'a' as NodeId }, { message: 'its node is down' }),
      on('a', 5, { boundNode: 'a' as NodeId, desiredState: 'remove' }),
    ];
    const lost = new Set(['a']);
    const nodes = [node('a', 'down'), node('b', 'ready')];
    assert.deepEqual(told(await see(nodes, tasks, (tx) => lostTasks(tx, given(lost), T0), [volume])), [
      '1 running running: its node is down',
      '2 running running: its node is down',
      '3 running running: its node is down',
      '5 remove orphaned: its node is down',
    ]);
  });

  it('wait or do not, each as its own constraints and volumes say', async () => {
    const needing = (slot: number, ...constraints: readonly string[]): Task =>
      on('a', slot, { spec: { ...web.spec.task, constraints } });
    const tasks = [
      needing(1, 'node.hostname == b'),
      needing(2, 'node.hostname == a'),
      needing(3, 'node.hostname == b'),
      needing(4, 'node.hostname == a'),
      needing(5),
    ];
    const nodes = [node('a', 'down'), node('b', 'ready')];
    assert.deepEqual(told(await see(nodes, tasks, (tx) => lostTasks(tx, given(new Set(['a'])), T0))), [
      '1 shutdown orphaned: its node is down',
      '2 running running: its node is down',
      '3 shutdown orphaned: its node is down',
      '4 running running: its node is down',
      '5 shutdown orphaned: its node is down',
    ]);
  });

  it('are given up in transactions of a bounded size, however many there are', async () => {
    const clock = new VirtualClock();
    const store = memoryStore(clock);
    await store.update((tx) => {
      tx.create('node', node('a', 'down'));
      tx.create('node', node('b', 'ready'));
      for (let slot = 1; slot <= 2300; slot++) tx.create('task', on('a', slot));
    });
    const { watch } = store.viewAndWatch(() => undefined);
    const sizes: number[] = [];
    const watching = (async () => {
      for await (const { changes } of watch) sizes.push(changes.length);
    })();
    const life = new AbortController();
    const leases = { isOver: () => true };
    const options = { store, clock, logger: silentLogger, leases, matches: matchesConstraint };
    const running = runNodeLoop(options, life.signal);
    await clock.advance(2000);
    life.abort();
    await clock.advance(1000);
    await running;
    watch.close();
    await watching;
    assert.deepEqual(sizes, [1000, 1000, 300]);
    assert.ok(store.view((tx) => tx.list('task').every(({ status }) => status.state === 'orphaned')));
  });

  it('of a node that was removed are not given up before its lease is over', async () => {
    const tasks = [on('gone', 1), on('gone', 2, { desiredState: 'remove' })];
    const early = given(new Set(), () => false);
    assert.deepEqual(told(await see([node('b', 'ready')], tasks, (tx) => lostTasks(tx, early, T0))), []);
  });

  it('are given up when it was removed, also where they were to go', async () => {
    const ended = on('gone', 4, { desiredState: 'remove' }, { state: 'shutdown' });
    const tasks = [
      on('gone', 1),
      on('gone', 2, { desiredState: 'remove' }),
      on('gone', 3, {}, { state: 'failed' }),
      ended,
      // It is collected as it is: states only grow.
      on('gone', 5, { desiredState: 'remove' }, { state: 'orphaned' }),
    ];
    assert.deepEqual(told(await see([node('b', 'ready')], tasks, (tx) => lostTasks(tx, given(new Set()), T0))), [
      '1 shutdown orphaned: its node was removed',
      '2 remove remove: its node was removed',
      '4 remove remove: its node was removed',
    ]);
  });

  it('end when it is drained, once, and not on a node that cannot be told', async () => {
    const tasks = [
      on('a', 1),
      on('a', 2, { desiredState: 'ready' }, { state: 'ready' }),
      on('a', 3, { desiredState: 'shutdown' }),
      on('b', 4),
      on('c', 5),
    ];
    const nodes = [node('a', 'ready', 'drain'), node('b', 'ready', 'pause'), node('c', 'down', 'drain')];
    assert.deepEqual(told(await see(nodes, tasks, (tx) => drainedTasks(tx, new Set(['c'])))), [
      '1 shutdown running: its node is drained',
      '2 shutdown ready: its node is drained',
    ]);
  });
});
