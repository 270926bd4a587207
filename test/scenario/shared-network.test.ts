import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { ServiceSpec, Task } from '../../proto/types/index.ts';
import { isLive } from '../../manager/model/task-state.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster } from '../fakes/cluster.ts';

const signal = new AbortController().signal;
const lan = [{ network: 'app_default', aliases: [], ipv4Address: '' }];
const db = (change: Partial<ServiceSpec> = {}, image = 'db'): ServiceSpec => {
  const task = taskSpec({ restart: { ...taskSpec().restart, condition: 'any' } });
  return serviceSpec('db', { task: { ...task, networks: lan, container: { ...task.container, image } }, ...change });
};
const probe = (change: Partial<ServiceSpec> = {}): ServiceSpec =>
  serviceSpec('probe', {
    task: { ...taskSpec(), networkMode: 'service:db', networks: [] },
    dependsOn: [{ service: 'db', condition: 'started', required: true, restart: true }],
    ...change,
  });

describe('services that share the network of another', () => {
  let cluster: FakeCluster;
  /** Tasks of images that do not start by themselves. */
  const holds = new Set<string>();
  beforeEach(async () => {
    holds.clear();
    cluster = await fakeCluster(({ spec }) =>
      holds.has(spec.container.image) ? { state: 'starting' } : { state: 'running', health: 'none' },
    );
    await cluster.join('two');
    await cluster.join('three');
  });
  afterEach(() => cluster.close());
  const live = (service: string): readonly Task[] => cluster.tasks(service).filter(isLive);
  /** Every live container of `probe` is where the one is whose network it has, which is of its slot. */
  const matches = (): string => {
    const pairs = live('probe').map((task) => {
      const host = cluster.tasks('db').find(({ id }) => id === task.networkTask);
      assert.ok(host !== undefined && isLive(host), `${task.name} has the network of one that is gone`);
      assert.deepEqual([host.slot, host.nodeId], [task.slot, task.nodeId], task.name);
      assert.equal(task.status.state, 'running', task.name);
      assert.deepEqual(task.addresses, []);
      return `${task.slot}`;
    });
    return pairs.join();
  };

  it('run in the same slot on the same node, after the other', async () => {
    holds.add('db');
    await cluster.apply(project([db({ replicas: 3 }), probe({ replicas: 3 })]));
    assert.ok(live('probe').every(({ held, nodeId }) => held && nodeId === ''));
    assert.match(live('probe')[0]?.status.message ?? '', /waiting for db to be started/);
    for (const task of live('db')) await cluster.say(task, { state: 'running', health: 'none' });
    assert.equal(matches(), '1,2,3');
    assert.equal(new Set(live('db').map(({ nodeId }) => nodeId)).size, 3);
  });

  it('follow it when it fails, is updated, or is moved', async () => {
    await cluster.apply(project([db(), probe()]));
    const first = live('probe')[0];
    const [host] = live('db');
    assert.ok(host);
    await cluster.say(host, { state: 'failed', exitCode: 3 });
    await cluster.clock.advance(30_000);
    const second = live('probe')[0];
    assert.equal(matches(), '1');
    assert.notEqual(second?.id, first?.id);
    await cluster.apply(project([db({}, 'db:2'), probe()]));
    await cluster.clock.advance(30_000);
    assert.equal(matches(), '1');
    assert.notEqual(live('probe')[0]?.id, second?.id);
    // Its node is drained: both go elsewhere.
    const before = live('db')[0]?.nodeId ?? '';
    await cluster.store.update((tx) => {
      const node = tx.get('node', before as never);
      assert.ok(node);
      tx.update('node', { ...node, spec: { ...node.spec, availability: 'drain' } });
    });
    await cluster.clock.advance(30_000);
    assert.equal(matches(), '1');
    assert.notEqual(live('db')[0]?.nodeId, before);
  });

  it('wait for it while it is away', async () => {
    await cluster.apply(project([db(), probe()]));
    holds.add('db');
    await cluster.control.stopServices({ project: 'app', services: ['db'], graceOverrideMs: -1 }, signal);
    await cluster.clock.advance(1000);
    assert.deepEqual(
      live('probe').map(({ held, nodeId }) => [held, nodeId]),
      [[true, '']],
    );
  });

  it('go on when the other is restarted in its place', async () => {
    await cluster.apply(project([db(), probe()]));
    const [host] = live('db');
    await cluster.control.restartServices({ project: 'app', services: ['db'], graceOverrideMs: -1 }, signal);
    await cluster.clock.advance(1000);
    assert.equal(live('db')[0]?.id, host?.id);
    assert.equal(live('probe')[0]?.restartCount, 1);
    assert.equal(matches(), '1');
  });

  it('that are global share that of their own node', async () => {
    await cluster.apply(project([db({ mode: 'global' }), probe({ mode: 'global' })]));
    assert.equal(matches().split(',').length, 3);
  });

  it('lend it to containers of "run" as well', async () => {
    const run = { project: 'app', service: 'probe', name: 'once', spec: probe().task, ports: [], autoRemove: false };
    await cluster.apply(project([db(), probe()]));
    await cluster.control.runTask(run, signal);
    await cluster.clock.advance(100);
    const once = cluster.tasks('probe').find(({ oneOff }) => oneOff);
    assert.equal(once?.networkTask, live('db')[0]?.id);
    assert.equal(once?.nodeId, live('db')[0]?.nodeId);
    await cluster.control.stopServices({ project: 'app', services: ['db'], graceOverrideMs: -1 }, signal);
    await cluster.clock.advance(1000);
    await assert.rejects(cluster.control.runTask({ ...run, name: 'twice' }, signal), /of which no container runs/);
  });

  it('that cannot are refused, with the reason', async () => {
    const refused = async (reason: RegExp, ...services: readonly ServiceSpec[]): Promise<void> => {
      await assert.rejects(cluster.apply(project(services)), (error) => {
        assert.ok(isTsswarmError(error, 'INVALID_INPUT'), String(error));
        assert.match(error.message, reason);
        return true;
      });
    };
    await refused(/the project has no service "db"/, probe({ dependsOn: [] }));
    await refused(/it has 2 replicas and "db" 1/, db(), probe({ replicas: 2 }));
    await refused(/only one is global/, db({ mode: 'global' }), probe());
    await refused(/the network of a job/, db(), probe({ mode: 'replicated-job' }));
    const host = { ...taskSpec(), networkMode: 'host' as const };
    await refused(/"db" has no network of its own, but network_mode "host"/, db({ task: host }), probe());
    const port = { target: 80, published: 80, protocol: 'tcp', mode: 'ingress', hostIp: '' } as const;
    await refused(/ports are published by "db"/, db(), probe({ ports: [port] }));
  });
});
