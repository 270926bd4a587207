import assert from 'node:assert/strict';
import type { ServiceDependency, ServiceSpec } from '../../proto/types/index.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, Script } from '../fakes/cluster.ts';

const signal = new AbortController().signal;
const all = { project: 'app', services: [], graceOverrideMs: -1 };
const on = (service: string, change: Partial<ServiceDependency> = {}): readonly ServiceDependency[] => [
  { service, condition: 'started', required: true, restart: false, ...change },
];
const image = (name: string, tag: string, rest: Partial<ServiceSpec> = {}): ServiceSpec =>
  serviceSpec(name, { task: taskSpec({ container: { ...taskSpec().container, image: tag } }), ...rest });

describe('services that depend on others', () => {
  let cluster: FakeCluster;
  const start = async (script?: Script): Promise<void> => {
    cluster = await fakeCluster(script);
  };
  afterEach(() => cluster.close());
  const newest = (name: string) => {
    const task = cluster.tasks(name).at(-1);
    assert.ok(task);
    return task;
  };
  const states = (): string => ['db', 'web'].map((name) => newest(name).status.state).join(' ');
  /** A database whose health somebody has to say. */
  const slowDb: Script = ({ name }) => ({ state: 'running', health: name.startsWith('app-db') ? 'starting' : 'none' });
  const healthy = async (): Promise<void> => {
    await cluster.say(newest('db'), { health: 'healthy' });
  };
  const healthyFirst = [serviceSpec('db'), serviceSpec('web', { dependsOn: on('db', { condition: 'healthy' }) })];

  it('are started again in order', async () => {
    await start(slowDb);
    await cluster.apply(project(healthyFirst));
    await healthy();
    await cluster.control.stopServices(all, signal);
    await cluster.clock.advance(200);
    assert.equal(states(), 'shutdown shutdown');
    await cluster.control.startServices(all, signal);
    await cluster.clock.advance(200);
    assert.equal(newest('db').status.state, 'running');
    assert.equal(newest('web').status.message, 'waiting for db to be healthy');
    await healthy();
    assert.equal(states(), 'running running');
  });

  it('are started with what they require', async () => {
    await start();
    const optional = serviceSpec('cache');
    const web = serviceSpec('web', { dependsOn: [...on('db'), ...on('cache', { required: false })] });
    await cluster.apply(project([serviceSpec('db'), optional, web]));
    await cluster.control.stopServices(all, signal);
    await cluster.clock.advance(200);
    const { services } = await cluster.control.startServices({ ...all, services: ['web'] }, signal);
    assert.deepEqual(services, ['web', 'db']);
    await cluster.clock.advance(200);
    assert.equal(states(), 'running running');
    assert.equal(newest('cache').status.state, 'shutdown');
  });

  it('are not started by the spec of an update that is rolled back in the same moment', async () => {
    const sick: Script = ({ name, spec }) => ({
      state: 'running',
      health: name.startsWith('app-db') && spec.container.image === 'sick' ? 'unhealthy' : 'none',
    });
    await start(sick);
    const update = { parallelism: 1, delayMs: 0, order: 'start-first' as const, failureAction: 'rollback' as const };
    await cluster.apply(project([image('db', 'good', { replicas: 2, update })]));
    // Web comes with an update that leaves one database, which runs at once and is unhealthy: there will be two again.
    const databases = new Map(cluster.tasks('db').map((task) => [task.id, task]));
    const running = (): number =>
      [...databases.values()].filter(
        ({ specVersion, status, desiredState }) =>
          specVersion === 3 && status.state === 'running' && desiredState === 'running',
      ).length;
    const { watch } = cluster.store.viewAndWatch(() => undefined);
    let whenReleased: number | undefined;
    const watching = (async () => {
      for await (const { changes } of watch)
        for (const { table, after } of changes) {
          if (table !== 'task' || after === undefined) continue;
          if (after.name.startsWith('app-db')) databases.set(after.id, after);
          else if (!after.held) whenReleased ??= running();
        }
    })();
    await cluster.apply(
      project([image('db', 'sick', { replicas: 1, update }), serviceSpec('web', { dependsOn: on('db') })]),
    );
    await cluster.clock.advance(10_000);
    watch.close();
    await watching;
    assert.equal(newest('web').status.state, 'running');
    assert.equal(whenReleased, 2);
  });

  it('are restarted in order', async () => {
    await start(slowDb);
    await cluster.apply(project(healthyFirst));
    await healthy();
    await cluster.control.restartServices(all, signal);
    await cluster.clock.advance(100);
    assert.equal(newest('db').status.restartCount, 1);
    await cluster.say(newest('db'), { health: 'starting' });
    await healthy();
    assert.equal(newest('web').status.restartCount, 1);
  });

  it('follow a dependency that is replaced, when the new one serves', async () => {
    await start(slowDb);
    const web = serviceSpec('web', { dependsOn: on('db', { condition: 'healthy', restart: true }) });
    await cluster.apply(project([image('db', 'db:1'), web]));
    await healthy();
    await cluster.apply(project([image('db', 'db:2'), web]));
    assert.equal(newest('db').specVersion, 2);
    assert.equal(newest('db').status.health, 'starting');
    assert.equal(newest('web').restartCount, 0, 'it runs on until there is something to follow');
    await healthy();
    assert.equal(newest('web').status.restartCount, 1);
  });

  it('do not follow a replacement that failed', async () => {
    await start(({ name, spec }) =>
      name.startsWith('app-db') && spec.container.image === 'db:2'
        ? { state: 'failed', exitCode: 1 }
        : { state: 'running', health: 'none' },
    );
    const web = serviceSpec('web', { dependsOn: on('db', { restart: true }) });
    await cluster.apply(project([image('db', 'db:1'), web]));
    await cluster.apply(project([image('db', 'db:2'), web]));
    await cluster.clock.advance(1000);
    assert.equal(newest('db').status.state, 'failed');
    assert.equal(newest('web').restartCount, 0);
    assert.equal(newest('web').status.state, 'running');
  });

  it('are replaced after what they depend on, when both change', async () => {
    await start(slowDb);
    const both = (tag: string) =>
      project([image('db', tag), image('web', tag, { dependsOn: on('db', { condition: 'healthy' }) })]);
    await cluster.apply(both('1'));
    await healthy();
    await cluster.apply(both('2'));
    assert.equal(newest('db').spec.container.image, '2');
    assert.equal(newest('web').held, true);
    assert.equal(newest('web').status.message, 'waiting for db to be healthy');
    assert.equal(cluster.tasks('web').find(({ specVersion }) => specVersion === 1)?.status.state, 'running');
    await healthy();
    await cluster.clock.advance(200);
    assert.equal(newest('web').status.state, 'running');
    assert.equal(newest('web').spec.container.image, '2');
  });

  it('say why they cannot start, and start when that is mended', async () => {
    let broken = true;
    await start(({ name }) => {
      if (!name.startsWith('app-db')) return { state: 'running' };
      return broken ? { state: 'rejected', error: 'no such image' } : { state: 'running', health: 'none' };
    });
    const services = [serviceSpec('db'), serviceSpec('web', { dependsOn: on('db') })];
    await cluster.apply(project(services));
    assert.equal(newest('web').status.error, 'dependency failed to start: container app-db-1: no such image');
    broken = false;
    await cluster.apply(project(services));
    await cluster.clock.advance(1000);
    assert.equal(states(), 'running running');
  });

  it('start when a dependency that failed is tried again by its restart policy', async () => {
    let left = 2;
    await start(({ name }) =>
      name.startsWith('app-db') && left-- > 0 ? { state: 'failed', exitCode: 1 } : { state: 'running', health: 'none' },
    );
    const restart = { condition: 'any' as const, delayMs: 100, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 };
    const db = serviceSpec('db', { task: taskSpec({ restart }) });
    await cluster.apply(project([db, serviceSpec('web', { dependsOn: on('db') })]));
    await cluster.clock.advance(2000);
    assert.equal(states(), 'running running');
  });

  it('go down in the reverse order, whole chains of them', async () => {
    await start();
    const chain = ['a', 'b', 'c', 'd'];
    const services = chain.map((name, index) =>
      serviceSpec(name, index === 0 ? {} : { dependsOn: on(chain[index - 1] ?? '', { required: index % 2 === 0 }) }),
    );
    await cluster.apply(project(services));
    const order: string[] = [];
    const { watch } = cluster.store.viewAndWatch(() => undefined);
    const watching = (async () => {
      for await (const { changes } of watch)
        for (const change of changes)
          if (change.table === 'task' && change.after?.status.state === 'remove') order.push(change.after.name);
    })();
    await cluster.control.removeProject(
      { name: 'app', removeVolumes: false, services: [], graceOverrideMs: -1 },
      signal,
    );
    await cluster.clock.advance(500);
    watch.close();
    await watching;
    assert.deepEqual(order, ['app-d-1', 'app-c-1', 'app-b-1', 'app-a-1']);
  });
});
