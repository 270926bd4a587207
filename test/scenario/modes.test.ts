import assert from 'node:assert/strict';
import type { NodeAvailability, ServiceSpec } from '../../proto/types/index.ts';
import { isFinal } from '../../manager/model/task-state.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, FakeNode, Script } from '../fakes/cluster.ts';

const onFailure = { condition: 'on-failure', delayMs: 100, maxDelayMs: 60_000, maxAttempts: 2, windowMs: 0 } as const;

describe('service modes', () => {
  let cluster: FakeCluster;
  const nodes = new Map<string, FakeNode>();
  const start = async (script?: Script): Promise<void> => {
    cluster = await fakeCluster(script);
    for (const name of ['two', 'three']) nodes.set(name, await cluster.join(name));
  };
  afterEach(() => cluster.close());

  const apply = (spec: Partial<ServiceSpec>) => cluster.apply(project([serviceSpec('web', spec)]));
  /** "one:1:running" of each task that has not ended. */
  const placed = (): readonly string[] =>
    cluster
      .tasks('web')
      .filter((task) => !isFinal(task) && task.desiredState !== 'remove')
      .map(({ nodeId, slot, status }) => `${nodeId.slice(5)}:${slot}:${status.state}`);
  const change = async (name: string, availability: NodeAvailability): Promise<void> => {
    await cluster.store.update((tx) => {
      const node = tx.list('node').find(({ description }) => description.hostname === name);
      assert.ok(node);
      tx.update('node', { ...node, spec: { ...node.spec, availability } });
    });
    await cluster.clock.advance(2000);
  };
  const service = () => cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]);

  describe('global', () => {
    it('runs one task on each node, and says on how many', async () => {
      await start();
      await apply({ mode: 'global' });
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running', 'three:3:running']);
      assert.equal(service()?.desiredTasks, 3);
      assert.deepEqual(
        cluster.tasks('web').map(({ name }) => name),
        ['app-web-1', 'app-web-2', 'app-web-3'],
      );
    });

    it('leaves out nodes that do not satisfy the constraints', async () => {
      await start();
      await apply({ mode: 'global', task: taskSpec({ constraints: ['node.hostname!=two'] }) });
      assert.deepEqual(placed(), ['one:1:running', 'three:2:running']);
    });

    it('runs nowhere when no node satisfies them', async () => {
      await start();
      await apply({ mode: 'global', task: taskSpec({ constraints: ['node.hostname==ten'] }) });
      assert.deepEqual(placed(), []);
      assert.equal(service()?.desiredTasks, 0);
    });

    it('comes to a node that joins, and touches no other', async () => {
      await start();
      await apply({ mode: 'global' });
      const before = cluster.tasks('web').map(({ id }) => id);
      await cluster.join('four');
      await cluster.clock.advance(200);
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running', 'three:3:running', 'four:4:running']);
      assert.deepEqual(
        cluster
          .tasks('web')
          .slice(0, 3)
          .map(({ id }) => id),
        before,
      );
    });

    it('leaves a drained node and goes back when it is active again', async () => {
      await start();
      await apply({ mode: 'global' });
      await change('two', 'drain');
      assert.deepEqual(placed(), ['one:1:running', 'three:3:running']);
      assert.equal(service()?.desiredTasks, 2);
      await change('two', 'active');
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running', 'three:3:running']);
    });

    it('keeps what runs on a paused node, and starts nothing new there', async () => {
      await start();
      await change('three', 'pause');
      await apply({ mode: 'global' });
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running']);
      await change('two', 'pause');
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running']);
    });

    it('is waited for when its node is lost: nobody else could run it, and it is still wanted when the node is back', async () => {
      await start();
      await apply({ mode: 'global' });
      const ids = (): string[] => cluster.tasks('web').map(({ id }) => id);
      const before = ids();
      const two = nodes.get('two');
      two?.vanish();
      await cluster.clock.advance(20_000);
      assert.deepEqual(ids(), before);
      await two?.returned();
      await cluster.clock.advance(9000);
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running', 'three:3:running']);
      assert.deepEqual(ids(), before, 'nothing was killed');
    });

    it('leaves with a node that is removed', async () => {
      await start();
      await apply({ mode: 'global' });
      const two = nodes.get('two');
      assert.ok(two);
      two.vanish();
      await cluster.clock.advance(10_000);
      await cluster.store.update((tx) => tx.remove('node', two.nodeId));
      await cluster.clock.advance(5000);
      assert.deepEqual(
        cluster.tasks('web').map(({ slot }) => slot),
        [1, 3],
      );
    });

    it('is updated node after node', async () => {
      await start((task) => ({ state: 'running', health: task.specVersion === 1 ? 'none' : 'starting' }));
      const update = { parallelism: 1, delayMs: 0, order: 'stop-first' as const, monitorMs: 0 };
      await apply({ mode: 'global', update });
      await apply({ mode: 'global', update, task: taskSpec({ container: { ...taskSpec().container, env: ['A=1'] } }) });
      for (let done = 1; done <= 3; done++) {
        const fresh = cluster.tasks('web').filter(({ specVersion }) => specVersion === 2);
        assert.equal(fresh.length, done);
        const waiting = fresh.find(({ status }) => status.health === 'starting');
        assert.ok(waiting);
        await cluster.say(waiting, { health: 'healthy' });
      }
      assert.equal(service()?.updateStatus?.state, 'completed');
      assert.deepEqual(placed(), ['one:1:running', 'two:2:running', 'three:3:running']);
    });

    it('is updated without the nodes that are paused or lost, which get the new version when they are back', async () => {
      await start();
      const update = { parallelism: 1, delayMs: 0, order: 'stop-first' as const, monitorMs: 0 };
      await apply({ mode: 'global', update });
      await change('three', 'pause');
      const two = nodes.get('two');
      two?.vanish();
      await cluster.clock.advance(10_000);
      await apply({ mode: 'global', update, task: taskSpec({ container: { ...taskSpec().container, env: ['A=1'] } }) });
      await cluster.clock.advance(5000);
      assert.equal(service()?.updateStatus?.state, 'completed', service()?.updateStatus?.message);
      await two?.returned();
      await change('three', 'active');
      await cluster.clock.advance(20_000);
      const live = cluster.tasks('web').filter(({ status }) => status.state === 'running');
      assert.deepEqual(
        live.map(({ slot, specVersion }) => `${slot}:${specVersion}`),
        ['1:2', '2:2', '3:2'],
      );
    });

    it('cannot become replicated: the hint says what to do', async () => {
      await start();
      await apply({ mode: 'global' });
      await assert.rejects(apply({}), /changing service "web": it is global and cannot become replicated/);
    });

    it('holds nobody up for nodes that take nothing new and have nothing of it', async () => {
      await start();
      await change('three', 'pause');
      await cluster.apply(
        project([
          serviceSpec('web', { mode: 'global' }),
          serviceSpec('after', {
            dependsOn: [{ service: 'web', condition: 'started', required: true, restart: false }],
          }),
        ]),
      );
      await cluster.clock.advance(1000);
      assert.equal(service()?.desiredTasks, 2);
      assert.deepEqual(
        cluster.tasks('after').map(({ status }) => status.state),
        ['running'],
      );
      await change('two', 'pause');
      assert.equal(service()?.desiredTasks, 2, 'what runs on a paused node is wanted there');
    });

    it('comes before those that depend on it on a node that joins', async () => {
      await start((task) => ({
        state: task.name.startsWith('app-web') && task.nodeId === 'node-four' ? 'starting' : 'running',
        health: 'none',
      }));
      await cluster.apply(
        project([
          serviceSpec('after', {
            mode: 'global',
            dependsOn: [{ service: 'web', condition: 'started', required: true, restart: false }],
          }),
          serviceSpec('web', { mode: 'global' }),
        ]),
      );
      await cluster.clock.advance(1000);
      await cluster.join('four');
      await cluster.clock.advance(1000);
      const there = (name: string) => cluster.tasks(name).find(({ boundNode }) => boundNode === 'node-four');
      assert.equal(there('web')?.status.state, 'starting');
      assert.equal(there('after')?.held, true);
    });

    it('holds those that depend on it until it serves on every node', async () => {
      await start((task) => ({ state: 'running', health: task.name.includes('agent') ? 'starting' : 'none' }));
      const dependsOn = [{ service: 'agent', condition: 'healthy', required: true, restart: false } as const];
      await cluster.apply(project([serviceSpec('agent', { mode: 'global' }), serviceSpec('web', { dependsOn })]));
      for (const task of cluster.tasks('agent')) {
        assert.equal(cluster.tasks('web')[0]?.held, true);
        await cluster.say(task, { health: 'healthy' });
      }
      assert.equal(cluster.tasks('web')[0]?.status.state, 'running');
    });
  });

  describe('replicated-job', () => {
    const job = { mode: 'replicated-job' as const, replicas: 3, task: taskSpec({ restart: onFailure }) };

    it('runs every slot to its end once, also when it is applied again', async () => {
      await start(() => ({ state: 'complete', exitCode: 0 }));
      await apply(job);
      const ids = cluster.tasks('web').map(({ id }) => id);
      assert.equal(ids.length, 3);
      await apply(job);
      await cluster.clock.advance(10_000);
      assert.deepEqual(
        cluster.tasks('web').map(({ id }) => id),
        ids,
      );
    });

    it('tries a slot that fails again, as often as its policy says', async () => {
      await start(({ slot }) => (slot === 2 ? { state: 'failed', exitCode: 1 } : { state: 'complete', exitCode: 0 }));
      await apply(job);
      await cluster.clock.advance(60_000);
      assert.deepEqual(
        cluster.tasks('web').map(({ slot, status }) => `${slot}:${status.state}`),
        ['1:complete', '2:failed', '2:failed', '2:failed', '3:complete'],
      );
    });

    it('is run anew by a change, the old run forgotten', async () => {
      await start(() => ({ state: 'complete', exitCode: 0 }));
      await apply(job);
      await apply({ ...job, task: { ...job.task, container: { ...job.task.container, env: ['A=2'] } } });
      await cluster.clock.advance(5000);
      assert.deepEqual(
        cluster.tasks('web').map(({ slot, specVersion, status }) => `${slot}:${specVersion}:${status.state}`),
        ['1:2:complete', '2:2:complete', '3:2:complete'],
      );
      assert.equal(service()?.updateStatus, undefined);
    });
  });

  it('global-job runs once on each node, also on one that joins later', async () => {
    await start(() => ({ state: 'complete', exitCode: 0 }));
    const job = { mode: 'global-job' as const, task: taskSpec({ restart: onFailure }) };
    await apply(job);
    assert.equal(cluster.tasks('web').length, 3);
    await cluster.join('four');
    await cluster.clock.advance(5000);
    assert.deepEqual(
      cluster.tasks('web').map(({ nodeId, status }) => `${nodeId.slice(5)}:${status.state}`),
      ['one:complete', 'two:complete', 'three:complete', 'four:complete'],
    );
  });
});
