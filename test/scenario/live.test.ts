import assert from 'node:assert/strict';
import { isLive } from '../../manager/model/task-state.ts';
import type { ServiceSpec, Task, UpdateConfig, UpdateStatus } from '../../proto/types/index.ts';
import { configSpec, project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, Script } from '../fakes/cluster.ts';

const rules = (change: Partial<UpdateConfig> = {}): UpdateConfig => ({
  parallelism: 1,
  delayMs: 0,
  order: 'stop-first',
  monitorMs: 0,
  ...change,
});

/** The node changes the container. */
const takes: Script = ({ specVersion }) => ({ applied: { specVersion, how: 'live', reason: 'changed limits' } });
const refuses =
  (reason: string): Script =>
  ({ specVersion }) => ({ refused: { specVersion, reason } });

describe('an update that running containers can take', () => {
  let cluster: FakeCluster;
  const start = async (change?: Script, script?: Script): Promise<void> => {
    cluster = await fakeCluster(script, undefined, 0, change);
  };
  afterEach(() => cluster.close());

  const apply = (cpus: number, update: UpdateConfig = rules(), change: Partial<ServiceSpec> = {}) => {
    const task = taskSpec({ limits: { nanoCpus: cpus } });
    return cluster.apply(project([serviceSpec('web', { replicas: 3, update, task, ...change })]));
  };
  const status = (): UpdateStatus => {
    const found = cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]);
    assert.ok(found?.updateStatus);
    return found.updateStatus;
  };
  const live = (): readonly Task[] => cluster.tasks('web').filter(isLive);
  const ids = (): string => live().map(({ id }) => id).join(); // prettier-ignore
  const cpus = (): string => live().map(({ spec }) => String(spec.limits.nanoCpus)).join(' '); // prettier-ignore
  const hows = (): string => live().map((task) => task.status.applied?.how).join(' '); // prettier-ignore

  it('keeps every container, and is completed', async () => {
    await start(takes);
    await apply(1);
    const before = ids();
    const { changes } = await apply(2);
    assert.equal(changes.at(-1)?.action, 'update');
    assert.deepEqual([ids(), cpus(), hows()], [before, '2 2 2', 'live live live']);
    assert.equal(status().state, 'completed');
    assert.ok(live().every(({ changing }) => changing === undefined));
  });

  it('takes one slot after the other, with the delay between them', async () => {
    await start(takes);
    const update = rules({ delayMs: 10_000 });
    await apply(1, update);
    await apply(2, update);
    assert.equal(cpus(), '2 1 1');
    await cluster.clock.advance(9000);
    assert.equal(cpus(), '2 1 1');
    await cluster.clock.advance(2000);
    assert.equal(cpus(), '2 2 1');
    await cluster.clock.advance(10_000);
    assert.equal(cpus(), '2 2 2');
  });

  it('waits for a node that has not answered', async () => {
    await start(() => ({}));
    await apply(1);
    await apply(2);
    assert.equal(cpus(), '2 1 1');
    const [first] = live();
    assert.ok(first?.changing);
    await cluster.say(first, takes(first));
    assert.equal(cpus(), '2 2 1');
  });

  it('fails when a node never answers', async () => {
    await start(() => ({}));
    await apply(1);
    await apply(2);
    await cluster.clock.advance(11 * 60_000);
    assert.equal(status().state, 'paused');
    assert.match(status().message, /container "app-web-1": not ready after 10 minutes: its node has not changed it/);
  });

  it('replaces what the container does not take, one slot after the other, and says why', async () => {
    await start(refuses('the kernel will not'));
    await apply(1);
    const before = live().map(({ id }) => id);
    await apply(2);
    assert.equal(cpus(), '2 2 2');
    assert.ok(live().every(({ id }) => !before.includes(id)));
    assert.ok(live().every((task) => task.status.applied?.reason === 'the kernel will not'));
    assert.equal(hows(), 'replaced replaced replaced');
    assert.equal(status().state, 'completed');
  });

  it('replaces containers where something else has changed too, and on nodes that cannot change them', async () => {
    await start(takes);
    await apply(1);
    const before = ids();
    const base = taskSpec({ limits: { nanoCpus: 2 } });
    const task = { ...base, container: { ...base.container, image: 'other' } };
    const { changes } = await apply(2, rules(), { task });
    assert.equal(changes.at(-1)?.action, 'replace');
    assert.notEqual(ids(), before);
    assert.equal(live()[0]?.status.applied?.reason, 'task.container.image: a running process keeps its program');
    await cluster.close();
    await start();
    await apply(1);
    const old = ids();
    await apply(2);
    assert.notEqual(ids(), old);
    assert.match(live()[0]?.status.applied?.reason ?? '', /cannot change the limits of running containers/);
  });

  it('keeps those whose nodes satisfy other constraints, and moves the rest', async () => {
    await start(takes);
    await cluster.join('two');
    await apply(1);
    const placed = live().map(({ id, nodeId }) => ({ id, nodeId }));
    const constrained = (text: string) =>
      apply(1, rules(), { task: { ...taskSpec({ limits: { nanoCpus: 1 } }), constraints: [text] } });
    const { changes } = await constrained('node.hostname!=three');
    assert.deepEqual(changes.at(-1)?.effects, [{ field: 'task.constraints', effect: 'live', reason: '' }]);
    assert.deepEqual(
      live().map(({ id, nodeId }) => ({ id, nodeId })),
      placed,
    );
    assert.ok(live().every(({ spec }) => spec.constraints.length === 1));
    const moved = await constrained('node.hostname!=two');
    const reason = 'node "two" does not satisfy node.hostname!=two';
    assert.deepEqual(moved.changes.at(-1)?.effects, [{ field: 'task.constraints', effect: 'replace', reason }]);
    const one = cluster.store.view((tx) => tx.list('node')).find(({ description }) => description.hostname === 'one');
    const stay = placed.filter(({ nodeId }) => nodeId === one?.id);
    assert.ok(stay.length > 0 && stay.length < 3);
    assert.ok(live().every(({ nodeId }) => nodeId === one?.id));
    assert.ok(stay.every(({ id }) => live().some((task) => task.id === id)));
  });

  it('replaces containers when that is asked for', async () => {
    await start(takes);
    await apply(1);
    const before = ids();
    const spec = serviceSpec('web', { replicas: 3, update: rules(), task: taskSpec({ limits: { nanoCpus: 1 } }) });
    await cluster.apply(project([spec]), { forceRecreate: ['web'] });
    assert.ok(live().every(({ id }) => !before.includes(id)));
  });

  it('is paused by a container that ends of it, and goes on when it is mended', async () => {
    await start(({ spec, specVersion }) =>
      spec.limits.nanoCpus === 2
        ? { ...takes({ specVersion } as Task), state: 'failed', exitCode: 137, error: 'killed' }
        : takes({ specVersion } as Task),
    );
    await apply(1, rules({ monitorMs: 1000 }));
    const before = ids().split(',');
    await apply(2, rules({ monitorMs: 1000 }));
    assert.equal(status().state, 'paused');
    assert.match(status().message, /container "app-web-1": it ended with exit code 137/);
    assert.deepEqual(ids().split(',').slice(-2), before.slice(1));
    await apply(3, rules({ monitorMs: 1000 }));
    await cluster.clock.advance(10_000);
    assert.equal(cpus(), '3 3 3');
    assert.deepEqual(ids().split(',').slice(1), before.slice(1));
  });

  it('goes back live when it is rolled back', async () => {
    await start(({ specVersion, slot, spec }) => ({
      applied: { specVersion, how: 'live', reason: '' },
      ...(slot === 3 && spec.limits.nanoCpus === 2 ? { state: 'failed', exitCode: 137 } : {}),
    }));
    const update = rules({ failureAction: 'rollback' });
    await apply(1, update, { rollback: rules() });
    const before = ids().split(',');
    await apply(2, update, { rollback: rules() });
    await cluster.clock.advance(10_000);
    assert.equal(status().state, 'rollback_completed');
    assert.equal(cpus(), '1 1 1');
    assert.deepEqual(ids().split(',').slice(0, 2), before.slice(0, 2));
    assert.match(hows(), /^live live/);
  });

  describe('when a container ends before its node has changed it', () => {
    const DIED = { state: 'failed', exitCode: 255 } as const;
    const restart = (condition: 'any' | 'on-failure' | 'none') => ({ ...taskSpec().restart, condition });
    const update = rules({ failureAction: 'rollback', monitorMs: 1000 });
    /** An update of which the first container has ended, with what it had before. */
    const endingEarly = async (policy: ReturnType<typeof restart>, end: Partial<Task['status']>): Promise<void> => {
      await start(({ slot, specVersion }) => (slot === 1 ? end : takes({ specVersion } as Task)));
      const spec = (nanoCpus: number) => ({ task: { ...taskSpec({ limits: { nanoCpus } }), restart: policy } });
      await apply(1, update, spec(1));
      await apply(2, update, spec(2));
      await cluster.clock.advance(60_000);
    };

    it('does not blame the update for it, and the next container has what was wished', async () => {
      await endingEarly(restart('any'), DIED);
      assert.deepEqual([status().state, status().failed, cpus()], ['completed', [], '2 2 2']);
    });

    it('comes to its end where the restart policy makes no other container', async () => {
      await endingEarly(restart('none'), DIED);
      assert.deepEqual([status().state, status().failed, cpus()], ['completed', [], '2 2 2']);
    });

    it('comes to its end where the container was done', async () => {
      await endingEarly(restart('on-failure'), { state: 'complete', exitCode: 0 });
      assert.deepEqual([status().state, status().failed, cpus()], ['completed', [], '2 2 2']);
    });

    it('is judged by the next container, which has what was wished', async () => {
      const wished = ({ spec }: Task): boolean => spec.limits.nanoCpus === 2;
      const made: Script = (task) => (wished(task) ? DIED : { state: 'running', health: 'none' });
      cluster = await fakeCluster(made, undefined, 0, (task) => (wished(task) ? DIED : takes(task)));
      await apply(1, update, { rollback: rules() });
      await apply(2, update, { rollback: rules() });
      await cluster.clock.advance(60_000);
      assert.equal(status().state, 'rollback_completed');
      assert.match(status().message, /rolled back: container "app-web-1": it ended with exit code 255/);
      assert.equal(cpus(), '1 1 1');
    });
  });

  it('brings new contents of a config into containers that run', async () => {
    await start(takes);
    const base = taskSpec();
    const configs = [{ name: 'app_conf', target: '/conf', uid: 0, gid: 0, mode: 0o444 }];
    const task = { ...base, container: { ...base.container, configs } };
    const spec = serviceSpec('web', { replicas: 2, update: rules(), task });
    await cluster.apply(project([spec], { configs: [configSpec('conf', 'one')] }));
    const before = ids();
    const { changes } = await cluster.apply(project([spec], { configs: [configSpec('conf', 'two')] }));
    assert.deepEqual(changes.at(-1)?.effects, [{ field: 'config app_conf', effect: 'live', reason: '' }]);
    assert.deepEqual([ids(), hows()], [before, 'live live']);
    assert.equal(status().state, 'completed');
  });
});
