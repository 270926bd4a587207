import assert from 'node:assert/strict';
import type { Service, Task, UpdateStatus } from '../../../proto/types/index.ts';
import { T0, service, task } from '../../../test/builders/objects.ts';
import { serviceSpec, taskSpec } from '../../../test/builders/specs.ts';
import { judgeService } from './converge.ts';
import type { Wish } from './converge.ts';

const always = { condition: 'any', delayMs: 5000, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 } as const;
const spec = { ...serviceSpec('web'), task: taskSpec({ restart: always }), replicas: 2 };
const update = { parallelism: 1, delayMs: 0, order: 'stop-first', monitorMs: 3000 } as const;
const web = (change: Partial<Service> = {}): Service => service('web', change, { ...spec, update });
const isNew: Wish = { rollback: false };
const changed: Wish = { versionBefore: 1, rollback: false };
const status = (state: UpdateStatus['state'], change: Partial<UpdateStatus> = {}): UpdateStatus => ({
  state,
  startedAt: T0,
  completedAt: 0,
  message: `update ${state}`,
  specVersion: 2,
  total: 2,
  failed: [],
  slots: [],
  reason: '',
  ...change,
});
const said = (rows: ReturnType<typeof judgeService>['rows']): readonly string[] =>
  rows.map(({ label, status: text, detail }) => [label, text, detail].filter(Boolean).join(' '));

describe('how far a service is', () => {
  it('is there when all its tasks serve, and has to stay so as long as its updates are watched', () => {
    const one = web();
    const judged = judgeService(one, [task(one, 1), task(one, 2)], isNew);
    assert.deepEqual([judged.isThere, judged.done, judged.wanted, judged.watchMs], [true, 2, 2, 3000]);
    assert.deepEqual(said(judged.rows), ['Task app_web.1 Running', 'Task app_web.2 Running']);
  });

  it('waits for tasks that are not made, start, or are not healthy', () => {
    const one = web();
    const judged = judgeService(one, [task(one, 2, { health: 'starting' })], isNew);
    assert.equal(judged.isThere, false);
    assert.deepEqual(said(judged.rows), ['Task app_web.1 New', 'Task app_web.2 Running health check: starting']);
    const held = judgeService(one, [task(one, 1, { state: 'pending', message: 'no suitable node' })], isNew);
    assert.equal(said(held.rows)[0], 'Task app_web.1 Pending no suitable node');
  });

  it('waits until tasks beyond its replicas are gone', () => {
    const one = web();
    const judged = judgeService(
      one,
      [task(one, 1), task(one, 2), task(one, 3, {}, { desiredState: 'remove' })],
      changed,
    );
    assert.equal(judged.isThere, false);
    assert.equal(said(judged.rows).at(-1), 'Task app_web.3 Removing');
  });

  it('gives a task that fails another try, and tells of the third failure in a row', () => {
    const one = web();
    const failing = (attempt: number): Task =>
      task(one, 1, { state: 'failed', exitCode: 3, error: 'task: non-zero exit' }, { attempt });
    assert.equal(judgeService(one, [failing(0)], isNew).failure, undefined);
    assert.equal(
      judgeService(one, [failing(2)], isNew).failure,
      'app_web.1: it has failed 3 times in a row: it ended with exit code 3',
    );
  });

  it('tells at once of a task that has failed and is not started again', () => {
    const never = { ...spec, task: taskSpec() };
    const one = service('web', {}, never);
    const judged = judgeService(one, [task(one, 1, { state: 'rejected', error: 'no such image' })], isNew);
    assert.equal(judged.failure, 'app_web.1: no such image');
  });

  it('believes an update when the orchestrator has watched it, not before', () => {
    const under = web({ specVersion: 2, updateStatus: status('updating', { message: 'update in progress (1 of 2)' }) });
    const tasks = [task(under, 1), task(under, 2)];
    const going = judgeService(under, tasks, changed);
    assert.equal(going.isThere, false);
    assert.equal(said(going.rows)[0], 'Service app_web Updating (1 of 2)');
    const over = judgeService({ ...under, updateStatus: status('completed') }, tasks, changed);
    assert.deepEqual([over.isThere, over.watchMs, over.failure], [true, 0, undefined]);
  });

  it('fails when the update was paused or rolled back, with the reason', () => {
    const paused = web({ specVersion: 2, updateStatus: status('paused', { message: 'update paused: broken' }) });
    const old = [task(paused, 1, {}, { specVersion: 1 }), task(paused, 2, {}, { specVersion: 1 })];
    assert.equal(judgeService(paused, old, changed).failure, 'update paused: broken');
    const back = web({
      specVersion: 2,
      updateStatus: status('rollback_completed', { message: 'rolled back: broken' }),
    });
    const judged = judgeService(back, [task(back, 1), task(back, 2)], changed);
    assert.deepEqual([judged.failure, judged.isRolledBack], ['rolled back: broken', true]);
  });

  it('a rollback that was asked for is no failure', () => {
    const back = web({ specVersion: 2, updateStatus: status('rollback_completed') });
    const judged = judgeService(back, [task(back, 1), task(back, 2)], { ...changed, rollback: true });
    assert.deepEqual([judged.failure, judged.isThere], [undefined, true]);
  });

  it('an update from before is none of its business', () => {
    const before = status('paused', { specVersion: 1 });
    const one = web({ specVersion: 1, updateStatus: before });
    const judged = judgeService(one, [task(one, 1), task(one, 2)], { ...changed, updateBefore: before });
    assert.deepEqual([judged.failure, judged.isThere, judged.watchMs], [undefined, true, 3000]);
  });

  it('a job is there when it has completed', () => {
    const job = service('job', {}, { mode: 'replicated-job', replicas: 2 });
    const judged = (...states: readonly Task['status']['state'][]) =>
      judgeService(
        job,
        states.map((state, index) => task(job, index + 1, { state })),
        isNew,
      );
    assert.equal(judged('running', 'complete').isThere, false);
    assert.deepEqual([judged('complete', 'complete').isThere, judged('complete', 'complete').watchMs], [true, 0]);
  });

  it('a service that is stopped has nothing to wait for', () => {
    const judged = judgeService(web({ stopped: true }), [], changed);
    assert.deepEqual([judged.isThere, judged.wanted, judged.watchMs], [true, 0, 0]);
  });
});
