import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { Node, Placement, TaskSpec, VolumeSpec } from '../../proto/types/index.ts';
import { node } from '../builders/objects.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster } from '../fakes/cluster.ts';

const GB = 2 ** 30;
const data: VolumeSpec = { name: 'app_data', composeName: 'data', driver: 'local', driverOptions: {}, labels: {} };
const withVolume: Partial<TaskSpec> = {
  container: {
    ...taskSpec().container,
    mounts: [
      {
        type: 'volume',
        source: 'app_data',
        target: '/data',
        readOnly: false,
        noCopy: false,
        subpath: '',
        driver: 'local',
        driverOptions: {},
        labels: {},
      },
    ],
  },
};

describe('a project on several nodes', () => {
  let cluster: FakeCluster;
  /** The scripted worker "node-one", which runs what it is given, and nodes that only take what they are given. */
  const start = async (...others: Node[]): Promise<void> => {
    cluster = await fakeCluster(() => ({ state: 'running', health: 'none', containerId: 'c0ffee' }));
    await cluster.store.update((tx) => {
      for (const other of others) tx.create('node', other);
    });
  };
  afterEach(() => cluster.close());

  const nodes = (service: string): string[] =>
    cluster
      .tasks(service)
      .map(({ nodeId }) => nodeId)
      .sort();
  const change = async (id: string, spec: Partial<Node['spec']>): Promise<void> => {
    await cluster.store.update((tx) => {
      const found = tx.get('node', id as Node['id']);
      assert.ok(found);
      tx.update('node', { ...found, spec: { ...found.spec, ...spec } });
    });
    await cluster.clock.advance(2000);
  };
  const web = (replicas: number, spec: Partial<TaskSpec>, rest: Parameters<typeof serviceSpec>[1] = {}) =>
    project([serviceSpec('web', { replicas, task: taskSpec({ ...spec }), ...rest })]);

  it('gets no node any more when it was stopped before one was found, and begins anew when it is started', async () => {
    await start();
    const wanted = { project: 'app', services: ['web'], graceOverrideMs: -1 };
    const { signal } = new AbortController();
    await cluster.apply(web(2, { constraints: ['node.labels.disk==ssd'] }));
    await cluster.control.stopServices(wanted, signal);
    await cluster.clock.advance(200);
    const stopped = (): string[] =>
      cluster.tasks('web').map(({ nodeId, status }) => `${nodeId} ${status.state}: ${status.message}`);
    assert.deepEqual(stopped(), Array(2).fill(' shutdown: stopped before a node was found'));
    await change('node-one', { labels: { disk: 'ssd' } });
    assert.deepEqual(stopped(), Array(2).fill(' shutdown: stopped before a node was found'));

    // Also when it is started and a node comes in the same moment.
    await change('node-one', { labels: {} });
    const former = new Set(cluster.tasks('web').map(({ id }) => id));
    await Promise.all([
      cluster.control.startServices(wanted, signal),
      cluster.store.update((tx) => {
        const [one] = tx.list('node');
        assert.ok(one);
        tx.update('node', { ...one, spec: { ...one.spec, labels: { disk: 'ssd' } } });
      }),
    ]);
    await cluster.clock.advance(2000);
    const states = cluster.tasks('web').map(({ id, nodeId, status }) => [former.has(id), nodeId, status.state]);
    assert.deepEqual(states.sort(), [
      ...Array(2).fill([false, 'node-one', 'running']),
      ...Array(2).fill([true, '', 'shutdown']),
    ]);
  });

  it('is spread over zones, and fills what is free when a limit is raised, touching nothing that runs', async () => {
    await start(node('b1', { zone: 'b' }), node('b2', { zone: 'b' }));
    const placement = (maxReplicasPerNode: number): { placement: Placement } => ({
      placement: { spread: ['node.labels.zone'], maxReplicasPerNode },
    });
    await cluster.apply(web(4, placement(1)));
    assert.deepEqual(nodes('web'), ['', 'b1', 'b2', 'node-one']);
    const waiting = cluster.tasks('web').find(({ nodeId }) => nodeId === '');
    assert.equal(waiting?.status.message, 'no suitable node: 3 of 3 have 1 replica, the most allowed per node');
    const before = cluster.tasks('web').map(({ id }) => id);
    const { changes } = await cluster.apply(web(4, placement(2)));
    assert.deepEqual(
      changes.map(({ name, action }) => `${action} ${name}`),
      ['none app_default', 'update web'],
    );
    assert.deepEqual(nodes('web'), ['b1', 'b2', 'node-one', 'node-one']);
    assert.deepEqual(
      cluster.tasks('web').map(({ id }) => id),
      before,
    );
  });

  it('counts every node that hinders, by what hinders', async () => {
    const small = { description: { resources: { nanoCpus: 1e9, memoryBytes: GB } } };
    await start(node('s1', { disk: 'ssd' }, small), node('s2', { disk: 'ssd' }, small), node('h1'), node('h2'));
    await cluster.apply(
      web(1, { constraints: ['node.labels.disk==ssd'], reservations: { memoryBytes: 1.5 * GB, nanoCpus: 5e8 } }),
    );
    assert.equal(
      cluster.tasks('web')[0]?.status.message,
      'no suitable node: 2 of 5 lack 1.5 GB of memory, 3 do not match node.labels.disk==ssd',
    );
    await change('node-one', { labels: { disk: 'SSD' } });
    assert.deepEqual(nodes('web'), ['node-one']);
  });

  for (const [what, spec, message] of [
    [
      'a constraint without an operator',
      { constraints: ['node.role=manager'] },
      'applying service "web": the placement constraint "node.role=manager" has no operator, expected == or !=',
    ],
    [
      'a preference that is no label',
      { placement: { spread: ['node.hostname'], maxReplicasPerNode: 0 } },
      'applying service "web": the placement preference spreads over "node.hostname", expected node.labels.<name> or engine.labels.<name>',
    ],
    [
      'a negative limit per node',
      { placement: { spread: [], maxReplicasPerNode: -1 } },
      'applying service "web": at most -1 replicas per node, expected 0 or more',
    ],
  ] as const) {
    it(`refuses ${what}, and changes nothing`, async () => {
      await start();
      await assert.rejects(
        cluster.apply(web(1, spec)),
        (error) => isTsswarmError(error, 'INVALID_INPUT') && error.message === message,
      );
      assert.equal(
        cluster.store.view((tx) => tx.list('service').length),
        0,
      );
    });
  }

  it('publishes a port of the host on one node per replica, and refuses more replicas than nodes', async () => {
    await start(node('b'));
    const ports = [{ target: 80, published: 8080, protocol: 'tcp' as const, mode: 'host' as const, hostIp: '' }];
    await cluster.apply(web(2, {}, { ports }));
    assert.deepEqual(nodes('web'), ['b', 'node-one']);
    await assert.rejects(cluster.apply(web(3, {}, { ports })), /one replica per node: 3 are wanted, there are 2 nodes/);
  });

  it('replaces a task on a node that has no room for both', async () => {
    await start();
    const reservations = { memoryBytes: 5 * GB };
    await cluster.apply(web(1, { reservations }));
    await cluster.apply(web(1, { reservations, container: { ...taskSpec().container, image: 'busybox:2' } }));
    await cluster.clock.advance(1000);
    assert.deepEqual(
      cluster.tasks('web').map(({ spec, status }) => `${spec.container.image} ${status.state}`),
      ['busybox:2 running'],
    );
  });

  describe('with a volume', () => {
    const withData = (replicas: number) =>
      project([serviceSpec('db', { replicas, task: taskSpec(withVolume) })], { volumes: [data] });
    const recorded = () =>
      cluster.store.view((tx) => tx.find('volume', 'name', 'app_data')[0]?.nodeIds ?? []) as readonly string[];

    const takeDown = async (removeVolumes: boolean): Promise<void> => {
      const request = { name: 'app', services: [], removeVolumes, graceOverrideMs: -1 };
      await cluster.control.removeProject(request, new AbortController().signal);
      await cluster.clock.advance(2000);
    };

    it('goes where the volume was made, also after everything was taken down', async () => {
      await start();
      await cluster.apply(withData(1));
      assert.deepEqual(recorded(), ['node-one']);
      await takeDown(false);
      assert.equal(
        cluster.store.view((tx) => tx.list('task').length),
        0,
      );
      // The other node is empty, this one is not.
      await cluster.store.update((tx) => tx.create('node', node('empty')));
      const task = taskSpec({ networks: [], constraints: ['node.id==node-one'] });
      const busy = serviceSpec('busy', { name: 'other_busy', task });
      await cluster.apply({ ...project([busy]), name: 'other', networks: [] });
      await cluster.apply(withData(2));
      assert.deepEqual(nodes('db'), ['node-one', 'node-one']);
    });

    it('waits for its node while that is drained, and says so', async () => {
      await start(node('b'), node('c'));
      await cluster.apply(withData(1));
      await change('node-one', { availability: 'drain' });
      const waiting = cluster.tasks('db').at(-1);
      assert.equal(waiting?.nodeId, '');
      assert.equal(waiting.status.message, 'no suitable node: 2 of 3 do not hold volume "app_data", 1 is drained');
      await change('node-one', { availability: 'active' });
      assert.equal(cluster.tasks('db').at(-1)?.nodeId, 'node-one');
    });

    it('is removed when every node that has it has removed its data', async () => {
      await start(node('b'));
      await cluster.apply(withData(1));
      await cluster.store.update((tx) => {
        const [volume] = tx.find('volume', 'name', 'app_data');
        assert.ok(volume);
        tx.update('volume', { ...volume, nodeIds: ['node-one', 'b'] as Node['id'][] });
      });
      await takeDown(true);
      assert.deepEqual(recorded(), ['b']);
      await cluster.store.update((tx) => tx.remove('node', 'b' as Node['id']));
      await cluster.clock.advance(2000);
    });

    it('is removed also on a node that was given a task with it and has said nothing', async () => {
      const maybe = () => cluster.store.view((tx) => tx.find('volume', 'name', 'app_data')[0]?.assignedTo);
      await start(node('silent'));
      await change('node-one', { availability: 'drain' });
      await cluster.apply(withData(1));
      assert.deepEqual(nodes('db'), ['silent']);
      assert.deepEqual([maybe(), recorded()], [['silent'], []]);
      await takeDown(true);
      await cluster.store.update((tx) => {
        for (const { id } of tx.list('task')) tx.remove('task', id);
      });
      await cluster.clock.advance(2000);
      assert.deepEqual(maybe(), ['silent'], 'it has not been asked');
    });
  });
});
