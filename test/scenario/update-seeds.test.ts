import assert from 'node:assert/strict';
import { seededRandom } from '../../base/random.ts';
import type { Service, TaskStatus, UpdateConfig } from '../../proto/types/index.ts';
import { isLive } from '../../manager/model/task-state.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { Script } from '../fakes/cluster.ts';

const SEEDS = 40;
const REPLICAS = 4;
const restart = { condition: 'any', delayMs: 1000, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 } as const;

/** Updates follow each other at random moments; containers fail, hang and recover at random. */
async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random.next() * choices.length)] as T;
  let calm = false;
  const good: Partial<TaskStatus> = { state: 'running', health: 'healthy' };
  const behave: Script = (task) => {
    const version = task.spec.container.image;
    if (calm || version === 'v0') return good;
    return pick(good, good, { state: 'running', health: 'starting' }, { state: 'failed', exitCode: 1 });
  };
  const cluster = await fakeCluster(behave, () => ({ state: 'ready' }), pick(0, 2000));
  const service = (): Service | undefined => cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]);
  const order = pick<UpdateConfig['order']>('stop-first', 'start-first');
  const parallelism = pick(1, 2);
  let most = 0;
  const { watch } = cluster.store.viewAndWatch(() => undefined);
  const watching = (async () => {
    for await (const _ of watch) {
      const tasks = cluster.tasks('web').filter(({ status }) => status.state === 'running');
      most = Math.max(most, tasks.length);
    }
  })();
  const apply = (image: string, failureAction: UpdateConfig['failureAction'] & string) => {
    const update = { parallelism, delayMs: pick(0, 3000), order, monitorMs: pick(0, 5000), failureAction };
    const rollback = { ...update, failureAction: 'pause' as const };
    const task = taskSpec({ restart, container: { ...taskSpec().container, image } });
    return cluster.apply(project([serviceSpec('web', { replicas: REPLICAS, update, rollback, task })]));
  };
  try {
    await apply('v0', 'pause');
    for (let step = 1; step <= 12; step++) {
      await apply(pick(`v${step}`, `v${step}`, `v${step - 1}`), pick('pause', 'continue', 'rollback'));
      await cluster.clock.advance(pick(10, 500, 4000, 30_000));
      const live = cluster.tasks('web').filter(({ status }) => status.state === 'running');
      if (live.length > 0)
        await cluster.say(pick(...live), pick(good, { health: 'unhealthy' }, { state: 'failed', exitCode: 9 }));
    }
    const allowed = REPLICAS + (order === 'start-first' ? parallelism : 0);
    assert.ok(most <= allowed, `${most} ran at once, ${allowed} are allowed (${order}, parallelism ${parallelism})`);
    calm = true;
    await apply('last', 'pause');
    await cluster.clock.advance(120_000);
    assert.equal(service()?.updateStatus?.state, 'completed', service()?.updateStatus?.message);
    assert.deepEqual(
      cluster
        .tasks('web')
        .filter(isLive)
        .map(({ slot, spec, status }) => `${slot} ${spec.container.image} ${status.state}`),
      [1, 2, 3, 4].map((slot) => `${slot} last running`),
    );
  } finally {
    watch.close();
    await watching;
    await cluster.close();
  }
}

describe('updates that follow each other while containers fail', function () {
  this.timeout(20_000);
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`seed ${seed}: never more than allowed, and the last one is reached`, () => run(seed));
  }
});
