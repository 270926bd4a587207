import assert from 'node:assert/strict';
import { isLive, mayRun } from '../../manager/model/task-state.ts';
import type { Mount, Node, ServiceSpec, Task, UpdateConfig } from '../../proto/types/index.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, FakeNode, Script } from '../fakes/cluster.ts';

const rules = (change: Partial<UpdateConfig> = {}): UpdateConfig => ({
  parallelism: 1,
  delayMs: 1000,
  order: 'stop-first',
  monitorMs: 500,
  ...change,
});
const volume = (driverOptions: Record<string, string>): Mount => ({
  type: 'volume',
  source: 'app_data',
  target: '/data',
  readOnly: false,
  noCopy: false,
  subpath: '',
  driver: 'local',
  driverOptions,
  labels: {},
});
const bind = (readOnly: boolean): Mount => ({
  type: 'bind',
  source: '/srv',
  target: '/srv',
  readOnly,
  propagation: 'rprivate',
  createHostPath: true,
});

describe('rebalancing', () => {
  let cluster: FakeCluster;
  const nodes = new Map<string, FakeNode>();
  const start = async (script?: Script): Promise<void> => {
    cluster = await fakeCluster(script);
    nodes.clear();
  };
  const join = async (...names: string[]): Promise<void> => {
    for (const name of names) nodes.set(name, await cluster.join(name));
    await cluster.clock.advance(500);
  };
  afterEach(() => cluster.close());

  const apply = (change: Partial<ServiceSpec> = {}, mounts: readonly Mount[] = []) => {
    const base = change.task ?? taskSpec();
    const task = { ...base, container: { ...base.container, mounts } };
    return cluster.apply(project([serviceSpec('web', { replicas: 4, update: rules(), ...change, task })]));
  };
  const ask = (dryRun = false, services: readonly string[] = []) =>
    cluster.control.rebalance({ services, dryRun }, AbortSignal.timeout(10_000));
  const live = (): readonly Task[] => cluster.tasks('web').filter(isLive);
  /** "one:2 two:2": how many tasks each node has. */
  const spread = (): string =>
    Object.entries(Object.groupBy(live(), ({ nodeId }) => nodeId.slice(5)))
      .map(([name, tasks = []]) => `${name}:${tasks.length}`)
      .sort()
      .join(' ');
  const status = () => cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]?.updateStatus);
  const change = async (name: string, spec: Partial<Node['spec']>): Promise<void> => {
    await cluster.store.update((tx) => {
      const node = tx.list('node').find(({ description }) => description.hostname === name);
      assert.ok(node);
      tx.update('node', { ...node, spec: { ...node.spec, ...spec } });
    });
    await cluster.clock.advance(2000);
  };
  /** The reason why nothing moves. */
  const refusal = async (): Promise<string | undefined> => {
    const { moves, skipped } = await ask(true);
    assert.deepEqual(moves, []);
    return skipped[0]?.reason;
  };

  it('moves nothing by itself, says what it would do, and does it when it is asked to', async () => {
    await start();
    await apply();
    await join('two');
    await cluster.clock.advance(60_000);
    assert.equal(spread(), 'one:4');
    const { moves, skipped } = await ask(true);
    assert.deepEqual(
      moves.map(({ service, slot, from, to }) => `${service} ${slot} ${from} ${to}`),
      ['app_web 1 one two', 'app_web 2 one two'],
    );
    assert.deepEqual(skipped, []);
    await cluster.clock.advance(10_000);
    assert.equal(spread(), 'one:4', 'a dry run changes nothing');
    const kept = live().filter(({ slot }) => slot > 2);
    assert.deepEqual((await ask()).moves, moves);
    await cluster.clock.advance(10_000);
    assert.equal(spread(), 'one:2 two:2');
    assert.deepEqual([status()?.state, status()?.message, status()?.kind], ['completed', 'rebalanced', 'rebalance']);
    assert.deepEqual(
      live()
        .filter(({ slot }) => slot > 2)
        .map(({ id }) => id),
      kept.map(({ id }) => id),
      'what is not moved is not touched',
    );
    assert.equal(await refusal(), 'its containers are evenly spread');
  });

  it('goes by the rules of an update: one at a time, and waits in between', async () => {
    await start();
    await apply();
    await join('two');
    await ask();
    const seen = new Set<string>();
    for (let step = 0; step < 80; step++) {
      await cluster.clock.advance(50);
      const running = cluster.tasks('web').filter((task) => mayRun(task) && task.status.state === 'running');
      assert.ok(running.length >= 3, 'stop-first, one at a time');
      seen.add(spread());
    }
    assert.ok(seen.has('one:3 two:1'), [...seen].join(', '));
    assert.equal(spread(), 'one:2 two:2');
  });

  it('is paused where what moves does not come up, and goes back to nothing', async () => {
    await start(({ nodeId }) => (nodeId === 'node-two' ? { state: 'failed', exitCode: 3 } : { state: 'running' }));
    await apply({ update: rules({ failureAction: 'rollback' }) });
    await join('two');
    await ask();
    await cluster.clock.advance(20_000);
    assert.equal(status()?.state, 'paused');
    assert.match(status()?.message ?? '', /^rebalancing paused: container "app-web-1": it ended with exit code 3/);
    assert.match((await refusal()) ?? '', /^its update is paused/);
    // A change of the service goes on from there, and goes back to what was before the change.
    await apply({ labels: { a: 'b' }, task: taskSpec({ constraints: ['node.hostname==one'] }) });
    await cluster.clock.advance(20_000);
    assert.deepEqual([spread(), status()?.state], ['one:4', 'completed']);
  });

  it('moves as few as it takes', async () => {
    await start();
    await join('two', 'three');
    await apply({ replicas: 5 });
    assert.equal(await refusal(), 'its containers are evenly spread');
    await join('four');
    assert.equal((await ask(true)).moves.length, 1, '2 2 1 0 becomes 2 1 1 1');
    await ask();
    await cluster.clock.advance(10_000);
    assert.equal(await refusal(), 'its containers are evenly spread');
    await join('five', 'six');
    assert.equal((await ask(true)).moves.length, 1, 'five containers on six nodes');
  });

  it('keeps to the preferences, not to the number of nodes', async () => {
    await start();
    await change('one', { labels: { zone: 'a' } });
    await apply({ task: taskSpec({ placement: { spread: ['node.labels.zone'], maxReplicasPerNode: 0 } }) });
    await join('two', 'three');
    await change('two', { labels: { zone: 'b' } });
    await change('three', { labels: { zone: 'b' } });
    await ask();
    await cluster.clock.advance(10_000);
    assert.equal(spread(), 'one:2 three:1 two:1');
    assert.equal(await refusal(), 'its containers are evenly spread');
  });

  it('leaves alone what its constraints, its data or its kind keep where it is', async () => {
    await start();
    await apply({ task: taskSpec({ constraints: ['node.hostname==one'] }) });
    await join('two');
    assert.equal(await refusal(), 'no other node could take its containers');
    await apply({}, [volume({})]);
    await cluster.clock.advance(20_000);
    assert.equal(await refusal(), 'its volume "app_data" lies on the node');
    await apply({}, [bind(false)]);
    await cluster.clock.advance(20_000);
    assert.equal(await refusal(), 'it writes "/srv" of the node');
    await apply({ replicas: 5 }, [bind(true)]);
    assert.equal(await refusal(), 'an update of it is under way');
  });

  it('of what is on a file server is done', async () => {
    await start();
    await apply({}, [volume({ type: 'nfs', o: 'addr=10.0.0.1', device: ':/x' }), bind(true)]);
    await join('two');
    assert.equal((await ask(true)).moves.length, 2);
  });

  it('waits for nodes that are not there, and for containers that do not serve', async () => {
    await start(({ slot }) => (slot === 1 ? { state: 'starting' } : { state: 'running' }));
    await apply();
    assert.equal(await refusal(), 'not all of its containers serve (3 of 4)');
  });

  it('by itself follows nodes that come, and is calm when they stay', async () => {
    await start();
    await apply({ rebalance: 'auto' });
    await join('two');
    await cluster.clock.advance(10_000);
    assert.equal(spread(), 'one:2 two:2');
    const ids = live().map(({ id }) => id);
    await cluster.clock.advance(60_000);
    assert.deepEqual(
      live().map(({ id }) => id),
      ids,
    );
    await join('three', 'four');
    await cluster.clock.advance(20_000);
    assert.equal(spread(), 'four:1 one:1 three:1 two:1');
    nodes.get('four')?.vanish();
    await cluster.clock.advance(20_000);
    assert.doesNotMatch(spread(), /four/);
    await nodes.get('four')?.returned();
    await cluster.clock.advance(20_000);
    assert.equal(spread(), 'four:1 one:1 three:1 two:1', 'also a node that comes back');
  });

  it('names a service that is not there, or not the only one of that name', async () => {
    await start();
    await apply();
    await assert.rejects(ask(true, ['db']), /rebalancing service "db": no such service/);
    assert.equal((await ask(true, ['web'])).skipped.length, 1);
    const other = serviceSpec('web', { name: 'blog_web', task: taskSpec({ networkMode: 'host', networks: [] }) });
    await cluster.apply(project([other], { name: 'blog', networks: [] }));
    await assert.rejects(ask(true, ['web']), /several have that name, expected one of "app_web", "blog_web"/);
  });
});
