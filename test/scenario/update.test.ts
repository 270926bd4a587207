import assert from 'node:assert/strict';
import type { ServiceSpec, Task, UpdateConfig, UpdateStatus } from '../../proto/types/index.ts';
import { seededRandom } from '../../base/random.ts';
import { orchestratorStage } from '../../manager/orchestrator/stage.ts';
import { PROGRESS_DEADLINE_MS } from '../../manager/orchestrator/update.ts';
import { isLive, mayRun } from '../../manager/model/task-state.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, Script } from '../fakes/cluster.ts';

const rules = (change: Partial<UpdateConfig> = {}): UpdateConfig => ({
  parallelism: 1,
  delayMs: 0,
  order: 'stop-first',
  ...change,
});
const always = { condition: 'any', delayMs: 1000, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 } as const;

describe('an update', () => {
  let cluster: FakeCluster;
  const start = async (script?: Script, prepare?: Script): Promise<void> => {
    cluster = await fakeCluster(script, prepare);
  };
  afterEach(() => cluster.close());

  /** Applies service "web" with image `image`. */
  const apply = async (image: string, change: Partial<ServiceSpec> = {}) => {
    const base = change.task ?? taskSpec();
    const task = { ...base, container: { ...base.container, image } };
    return cluster.apply(project([serviceSpec('web', { replicas: 3, update: rules(), ...change, task })]));
  };
  const service = () => {
    const found = cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]);
    assert.ok(found);
    return found;
  };
  const status = (): UpdateStatus => {
    const { updateStatus } = service();
    assert.ok(updateStatus);
    return updateStatus;
  };
  const live = (): readonly Task[] => cluster.tasks('web').filter(isLive);
  const images = (): string =>
    live()
      .map((task) => task.spec.container.image)
      .join(' ');
  /** Runs, but tasks of these images end at once. */
  const breaking =
    (...broken: string[]): Script =>
    ({ spec }) =>
      broken.includes(spec.container.image) ? { state: 'failed', exitCode: 3 } : { state: 'running' };

  it('leaves behind what its slots were before, as far as the history reaches', async () => {
    await start(({ spec }) =>
      spec.container.image === 'b' ? { state: 'failed', error: 'boom' } : { state: 'running' },
    );
    const past = (): string =>
      live()
        .map((task) => (task.past ?? []).map(({ image, state, error }) => `${image} ${state}${error}`).join())
        .join(' | ');
    for (const image of ['a', 'c', 'd']) {
      await apply(image, { replicas: 2 });
      await cluster.clock.advance(60_000);
    }
    assert.equal(images(), 'd d');
    assert.equal(past(), 'c shutdown,a shutdown | c shutdown,a shutdown');
    for (const image of ['e', 'f', 'g', 'h']) {
      await apply(image, { replicas: 2 });
      await cluster.clock.advance(60_000);
    }
    assert.equal(past().split(' | ')[0], 'g shutdown,f shutdown,e shutdown,d shutdown');
    // One of five that the history holds is the one that runs; those that have failed and are still there count, too.
    await apply('b', { replicas: 2 });
    await cluster.clock.advance(600_000);
    for (const slot of [1, 2]) {
      const own = cluster.tasks('web').filter((task) => task.slot === slot);
      const known = own.flatMap((task) => [task.id, ...(task.past ?? []).map(({ id }) => id)]);
      assert.ok(known.length <= 5, `${known.length} of slot ${slot}`);
    }
  });

  it('takes no other slot while one whose new task was lost with its node has none that serves', async () => {
    await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'b' ? 'starting' : 'none' }));
    await apply('a', { replicas: 2 });
    const idle = await cluster.join('idle');
    await apply('b', { replicas: 2 });
    const fresh = () => cluster.tasks('web').filter((task) => task.spec.container.image === 'b');
    assert.deepEqual(
      fresh().map(({ slot, nodeId }) => [slot, nodeId]),
      [[1, idle.nodeId]],
    );
    idle.vanish();
    for (let second = 0; second < 20; second++) {
      await cluster.clock.advance(1000);
      assert.deepEqual([...new Set(fresh().map(({ slot }) => slot))], [1]);
    }
    assert.ok(fresh().length > 1, 'its slot has another one by now');
  });

  it('of a new service there is none', async () => {
    await start();
    await apply('a');
    assert.equal(service().updateStatus, undefined);
  });

  it('replaces slot after slot and is completed when the last one was watched', async () => {
    await start();
    await apply('a');
    await apply('b');
    assert.equal(images(), 'b b b');
    assert.equal(status().state, 'updating');
    await cluster.clock.advance(4000);
    assert.equal(status().state, 'updating');
    await cluster.clock.advance(1000);
    assert.equal(status().state, 'completed');
    assert.equal(status().message, 'update completed');
    assert.ok(status().completedAt > status().startedAt);
    assert.equal(service().previous?.spec.task.container.image, 'a');
  });

  for (const [parallelism, atOnce] of [
    [1, 1],
    [2, 2],
    [0, 5],
  ] as const) {
    it(`with parallelism ${parallelism} has at most ${atOnce} slots in hand`, async () => {
      await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'a' ? 'none' : 'starting' }));
      const change = { replicas: 5, update: rules({ parallelism, monitorMs: 0 }) };
      await apply('a', change);
      await apply('b', change);
      for (let left = 5; left > 0; left--) {
        const waiting = live().filter(
          ({ spec, status: { health } }) => spec.container.image === 'b' && health !== 'healthy',
        );
        assert.equal(waiting.length, Math.min(atOnce, left));
        const [first] = waiting;
        assert.ok(first);
        await cluster.say(first, { health: 'healthy' });
      }
      assert.equal(status().state, 'completed');
    });
  }

  it('waits for the delay after a slot that serves', async () => {
    await start();
    const change = { update: rules({ delayMs: 10_000, monitorMs: 0 }) };
    await apply('a', change);
    await apply('b', change);
    assert.equal(images(), 'b a a');
    await cluster.clock.advance(9000);
    assert.equal(images(), 'b a a');
    await cluster.clock.advance(2000);
    assert.equal(images(), 'b b a');
    await cluster.clock.advance(10_000);
    assert.equal(images(), 'b b b');
  });

  it('misses nothing that falls due between a look and the question when to look again', async () => {
    await start();
    const change = { update: rules({ delayMs: 10_000, monitorMs: 0 }) };
    await apply('a', change);
    await apply('b', change);
    const due = (status().slots[0]?.since ?? NaN) + 10_000;
    let now = due - 1;
    const stage = orchestratorStage({ now: () => now }, seededRandom(1), () => true);
    cluster.store.view((tx) => {
      assert.equal(stage.decide(tx), undefined);
      now = due + 5;
      assert.equal(stage.dueAt?.(tx), due);
      assert.notEqual(stage.decide(tx), undefined);
    });
  });

  it('is paused by the first failure, with the reason, and leaves the other slots alone', async () => {
    await start(breaking('bad'));
    await apply('a');
    await apply('bad');
    assert.equal(status().state, 'paused');
    assert.equal(status().message, 'update paused: container "app-web-1": it ended with exit code 3');
    assert.equal(images(), 'a a');
    await cluster.clock.advance(60_000);
    assert.equal(images(), 'a a');
  });

  it('is paused by an image that cannot be had, and nothing is stopped', async () => {
    await start(undefined, () => ({ state: 'rejected', error: 'no such image' }));
    await apply('a', { task: taskSpec({ restart: always }) });
    await apply('bad', { task: taskSpec({ restart: always }) });
    await cluster.clock.advance(60_000);
    assert.equal(images(), 'a a a');
    assert.equal(status().message, 'update paused: container "app-web-1": no such image');
    assert.equal(cluster.tasks('web').length, 4);
  });

  describe('watches a new task', () => {
    const fail = async (afterMs: number, monitorMs: number): Promise<void> => {
      await start();
      const change = { replicas: 1, update: rules({ monitorMs }), task: taskSpec({ restart: always }) };
      await apply('a', change);
      await apply('b', change);
      await cluster.clock.advance(afterMs);
      const [task] = live();
      assert.ok(task);
      await cluster.say(task, { state: 'failed', exitCode: 1 });
    };
    it('for the time of "monitor": a failure in it counts', async () => {
      await fail(8000, 10_000);
      assert.equal(status().state, 'paused');
    });
    it('and no longer: a later failure is the restart policy’s', async () => {
      await fail(11_000, 10_000);
      assert.equal(status().state, 'completed');
      await cluster.clock.advance(2000);
      assert.equal(images(), 'b');
    });
    it('and starts anew with a task whose predecessor was lost with its node, which is no failure', async () => {
      await start();
      await apply('a', { replicas: 1 });
      await apply('b', { replicas: 1 });
      const [task] = live();
      assert.ok(task);
      await cluster.say(task, { state: 'orphaned' });
      await cluster.clock.advance(4000);
      assert.equal(status().state, 'updating');
      await cluster.clock.advance(2000);
      assert.equal(status().state, 'completed');
    });
  });

  for (const [ratio, state] of [
    [0, 'paused'],
    [0.24, 'paused'],
    [0.25, 'completed'],
    [1, 'completed'],
  ] as const) {
    it(`with a max_failure_ratio of ${ratio} and one of four failed is ${state}`, async () => {
      await start(({ spec, slot }) =>
        spec.container.image === 'b' && slot === 2 ? { state: 'failed', exitCode: 1 } : { state: 'running' },
      );
      const change = { replicas: 4, update: rules({ maxFailureRatio: ratio }) };
      await apply('a', change);
      await apply('b', change);
      await cluster.clock.advance(20_000);
      assert.equal(status().state, state);
      assert.equal(images(), state === 'paused' ? 'b a a' : 'b b b');
    });
  }

  it('goes on with failure_action continue, and says at the end what failed', async () => {
    await start(breaking('bad'));
    const change = { update: rules({ failureAction: 'continue' }) };
    await apply('a', change);
    await apply('bad', change);
    await cluster.clock.advance(10_000);
    assert.equal(status().state, 'completed');
    assert.equal(status().message, 'update completed; 3 of 3 failed: container "app-web-1": it ended with exit code 3');
  });

  it('with start-first and continue leaves the old container where the new one never gets healthy, and ends the new one', async () => {
    await start(({ spec, slot }) => ({
      state: 'running',
      health: spec.container.image === 'b' && slot === 2 ? 'starting' : 'healthy',
    }));
    const change = { update: rules({ order: 'start-first', failureAction: 'continue' }) };
    await apply('a', change);
    await apply('b', change);
    const hanging = cluster.tasks('web').find(({ spec, slot }) => spec.container.image === 'b' && slot === 2);
    assert.ok(hanging);
    await cluster.say(hanging, { health: 'unhealthy', message: 'no answer' });
    await cluster.clock.advance(10_000);
    assert.equal(status().state, 'completed');
    assert.equal(
      status().message,
      'update completed; 1 of 3 failed: container "app-web-2": it is unhealthy (no answer)',
    );
    assert.equal(images(), 'b a b');
  });

  it('fails when a task is not ready within the progress deadline, and says what it waits for', async () => {
    await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'a' ? 'none' : 'starting' }));
    await apply('a');
    await apply('b');
    await cluster.clock.advance(PROGRESS_DEADLINE_MS - 1000);
    assert.equal(status().state, 'updating');
    await cluster.clock.advance(1000);
    assert.equal(status().state, 'paused');
    assert.match(status().message, /"app-web-1": not ready after 10 minutes: its health check has not passed$/);
  });

  describe('that another leader takes over, whose clock is an hour off', () => {
    const HOUR = 3_600_000;

    it('is given up only when that one has seen for the whole time that nothing goes on', async () => {
      await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'a' ? 'none' : 'starting' }));
      await apply('a');
      await apply('b');
      const since = cluster.clock.now() + HOUR;
      let now = since;
      const stage = orchestratorStage({ now: () => now }, seededRandom(1), () => true);
      cluster.store.view((tx) => {
        assert.equal(stage.decide(tx), undefined);
        assert.equal(stage.dueAt?.(tx), since + PROGRESS_DEADLINE_MS);
        now = since + PROGRESS_DEADLINE_MS;
        assert.notEqual(stage.decide(tx), undefined);
      });
    });

    it('does not wait for an hour before it goes on', async () => {
      await start();
      const change = { update: rules({ delayMs: 10_000, monitorMs: 20_000 }) };
      await apply('a', change);
      await apply('b', change);
      const now = cluster.clock.now() - HOUR;
      const stage = orchestratorStage({ now: () => now }, seededRandom(1), () => true);
      await cluster.store.update((tx) => {
        stage.decide(tx)?.(tx);
        assert.equal(stage.decide(tx), undefined);
        assert.equal(stage.dueAt?.(tx), now + 10_000);
      });
    });
  });

  it('says while it lasts that no node fits', async () => {
    await start();
    await apply('a');
    await apply('a', { task: taskSpec({ reservations: { memoryBytes: 2 ** 40 } }) });
    assert.match(status().message, /; waiting for container "app-web-1": no suitable node: /);
    assert.equal(live().filter(mayRun).length, 3);
  });

  it('fails when a new task is unhealthy', async () => {
    await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'a' ? 'healthy' : 'starting' }));
    await apply('a');
    await apply('b');
    const fresh = live().find(({ spec }) => spec.container.image === 'b');
    assert.ok(fresh);
    await cluster.say(fresh, { health: 'unhealthy' });
    assert.equal(status().state, 'paused');
    assert.match(status().message, /container "app-web-1": it is unhealthy/);
  });

  describe('that fails with failure_action rollback', () => {
    const update = rules({ failureAction: 'rollback' });

    it('goes back to the spec before, keeps the tasks that were not reached, and tells why', async () => {
      await start(breaking('bad'));
      await apply('a', { update });
      await cluster.clock.advance(1000);
      const before = cluster.tasks('web').map(({ id }) => id);
      await apply('bad', { update, labels: { v: '2' } });
      assert.equal(status().state, 'rollback_started');
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'rollback_completed');
      assert.equal(status().message, 'rolled back: container "app-web-1": it ended with exit code 3');
      assert.equal(images(), 'a a a');
      assert.deepEqual(service().spec.labels, {});
      assert.equal(service().previous, undefined);
      assert.deepEqual(
        live()
          .slice(1)
          .map(({ id }) => id),
        before.slice(1),
      );
    });

    it('follows the rollback_config of the spec that failed', async () => {
      await start(breaking('bad'));
      const change = { replicas: 4, update: rules({ failureAction: 'rollback', parallelism: 0 }) };
      await apply('a', change);
      await apply('bad', { ...change, rollback: rules({ parallelism: 2, delayMs: 30_000 }) });
      await cluster.clock.advance(1000);
      assert.equal(images(), 'a a');
      await cluster.clock.advance(30_000);
      assert.equal(images(), 'a a a a');
    });

    it('is paused when the rollback fails too', async () => {
      let broken = ['bad'];
      await start((task) => breaking(...broken)(task));
      await apply('a', { update });
      broken = ['bad', 'a'];
      await apply('bad', { update });
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'rollback_paused');
      assert.match(status().message, /^rollback paused: container "app-web-1": it ended with exit code 3$/);
      assert.equal(live().length, 2);
    });

    it('tries again when the same file is applied again', async () => {
      let broken = ['bad'];
      await start((task) => breaking(...broken)(task));
      await apply('a', { update });
      await apply('bad', { update });
      await cluster.clock.advance(10_000);
      broken = [];
      await apply('bad', { update });
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'completed');
      assert.equal(images(), 'bad bad bad');
    });
  });

  describe('that is paused', () => {
    it('is superseded by a new one, which replaces every slot', async () => {
      await start(breaking('bad'));
      await apply('a');
      await apply('bad');
      assert.equal(status().state, 'paused');
      await apply('c');
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'completed');
      assert.equal(images(), 'c c c');
      assert.equal(service().previous?.spec.task.container.image, 'a');
    });

    it('goes back by applying what was there before: tasks that still have it stay', async () => {
      await start(breaking('bad'));
      await apply('a');
      const before = cluster.tasks('web').map(({ id }) => id);
      await apply('bad');
      await apply('a');
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'completed');
      assert.equal(status().total, 1);
      assert.deepEqual(
        live()
          .slice(1)
          .map(({ id }) => id),
        before.slice(1),
      );
    });

    it('goes on when the same is applied again, and tries the slots that failed again', async () => {
      let broken = ['bad'];
      await start((task) => breaking(...broken)(task));
      await apply('a');
      await apply('bad');
      broken = [];
      const { changes } = await apply('bad');
      assert.equal(changes.at(-1)?.action, 'update');
      await cluster.clock.advance(10_000);
      assert.equal(status().state, 'completed');
      assert.equal(images(), 'bad bad bad');
    });

    it('takes no other slot when it goes on before what it tries again serves', async () => {
      let health: 'starting' | 'healthy' = 'starting';
      let broken = ['bad'];
      await start((task) => ({ ...breaking(...broken)(task), health }));
      await apply('a', { update: rules({ monitorMs: 0 }) });
      for (const task of live()) await cluster.say(task, { health: 'healthy' });
      await apply('bad', { update: rules({ monitorMs: 0 }) });
      assert.equal(status().state, 'paused');
      assert.equal(images(), 'a a');
      broken = [];
      await apply('bad', { update: rules({ monitorMs: 0 }) });
      await cluster.clock.advance(10_000);
      assert.equal(images(), 'bad a a');
      health = 'healthy';
      for (const task of live().slice(0, 1)) await cluster.say(task, { health });
      assert.equal(status().state, 'completed');
      assert.equal(images(), 'bad bad bad');
    });

    it('replaces what ends meanwhile, and no more', async () => {
      await start(breaking('bad'));
      const task = taskSpec({ restart: always });
      await apply('a', { task });
      await apply('bad', { task });
      const third = live().find(({ slot }) => slot === 3);
      assert.ok(third);
      await cluster.say(third, { state: 'failed', exitCode: 1 });
      await cluster.clock.advance(100);
      assert.equal(
        cluster
          .tasks('web')
          .filter(({ slot }) => slot === 3)
          .at(-1)?.spec.container.image,
        'bad',
      );
      assert.equal(
        cluster
          .tasks('web')
          .filter(({ slot }) => slot === 2)
          .at(-1)?.spec.container.image,
        'a',
      );
    });

    it('leaves no slot to a task of an update before that was never let start', async () => {
      let broken = ['bad'];
      await start(
        (task) => breaking(...broken)(task),
        ({ spec }) => ({ state: spec.container.image === 'bad' ? 'ready' : 'preparing' }),
      );
      const task = taskSpec({ restart: always });
      await apply('a', { replicas: 1, task });
      await apply('b', { replicas: 1, task });
      const served = cluster.tasks('web').find(({ spec }) => spec.container.image === 'a');
      assert.ok(served);
      // What "b" was to replace fails at the moment in which "b" is given up: the orchestrator sees both at once.
      const failing = cluster.store.update((tx) => {
        const found = tx.get('task', served.id);
        assert.ok(found);
        tx.update('task', { ...found, status: { ...found.status, state: 'failed', exitCode: 1 } });
      });
      await Promise.all([failing, apply('c', { replicas: 1, task })]);
      // Slots that are new are filled at once, and take the turn of the first one.
      await apply('bad', { replicas: 3, task });
      assert.equal(status().state, 'paused');
      broken = [];
      await cluster.clock.advance(120_000);
      assert.deepEqual(
        live().map(({ slot, desiredState, status: { state } }) => `${slot} ${state}/${desiredState}`),
        ['1 running/running', '2 running/running', '3 running/running'],
      );
    });

    it('leaves no slot to a task of the version before that waits for a dependency', async () => {
      await start(({ name, spec }) =>
        name.includes('db') ? { state: 'running', health: 'starting' } : breaking('bad')({ spec } as Task),
      );
      const dependsOn = [{ service: 'db', condition: 'healthy', required: true, restart: false } as const];
      const web = (image: string) => {
        const task = taskSpec({ restart: always });
        const container = { ...task.container, image };
        return serviceSpec('web', { replicas: 2, update: rules(), dependsOn, task: { ...task, container } });
      };
      await cluster.apply(project([serviceSpec('db'), web('a')]));
      await cluster.apply(project([serviceSpec('db'), web('bad')]));
      const [db] = cluster.tasks('db');
      assert.ok(db);
      await cluster.say(db, { health: 'healthy' });
      assert.equal(status().state, 'paused');
      assert.equal(images(), 'bad bad');
    });
  });

  it('supersedes one that is under way: no slot stays with what was given up', async () => {
    await start(({ spec }) => ({ state: 'running', health: spec.container.image === 'b' ? 'starting' : 'none' }));
    await apply('a');
    await apply('b');
    assert.equal(status().state, 'updating');
    await apply('c');
    await cluster.clock.advance(10_000);
    assert.equal(status().state, 'completed');
    assert.equal(images(), 'c c c');
    assert.equal(cluster.tasks('web').filter(mayRun).length, 3);
  });

  for (const failureAction of ['pause', 'continue', 'rollback'] as const) {
    it(`start-first never runs more than the replicas and parallelism together (${failureAction})`, async () => {
      await start(({ spec, slot }) => {
        if (spec.container.image === 'a') return { state: 'running', health: 'none' };
        return slot === 2 ? { state: 'failed', exitCode: 1 } : { state: 'running', health: 'starting' };
      });
      const task = taskSpec({ restart: always });
      const update = rules({ parallelism: 2, order: 'start-first', monitorMs: 0, failureAction });
      await apply('a', { replicas: 5, update, task });
      let most = 0;
      const { watch } = cluster.store.viewAndWatch(() => undefined);
      const watching = (async () => {
        for await (const _ of watch) {
          const running = cluster.tasks('web').filter((one) => mayRun(one) && one.desiredState !== 'remove');
          most = Math.max(most, running.length);
          const least = running.filter(({ status: { state, health } }) => state === 'running' && health !== 'starting');
          assert.ok(least.length >= 5, 'every slot is served');
        }
      })();
      await apply('b', { replicas: 5, update, task });
      for (let round = 0; round < 8; round++) {
        for (const one of live().filter(({ status: { health } }) => health === 'starting')) {
          await cluster.say(one, { health: 'healthy' });
        }
        await cluster.clock.advance(5000);
      }
      watch.close();
      await watching;
      assert.ok(most > 5 && most <= 7, `at most ${most} at once`);
      assert.equal(
        status().state,
        { pause: 'paused', continue: 'completed', rollback: 'rollback_completed' }[failureAction],
      );
      assert.equal(live().filter(({ status: { state } }) => state === 'running').length, 5);
    });
  }
});
