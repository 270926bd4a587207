import assert from 'node:assert/strict';
import type { Service, UpdateState, UpdateStatus } from '../../../proto/types/index.ts';
import { service, show, task, T0 } from '../../../test/builders/objects.ts';
import { ProjectView } from '../project/view.ts';
import { judgeUp } from './up.ts';
import type { UpGoal, UpPlan } from './up.ts';

const updateStatus = (state: UpdateState, change: Partial<UpdateStatus> = {}): UpdateStatus => ({
  state,
  startedAt: T0,
  completedAt: 0,
  message: `update ${state}: container "app-web-1": no such image`,
  specVersion: 1,
  total: 2,
  failed: [],
  slots: [],
  reason: '',
  ...change,
});
const web = (status: UpdateStatus, monitorMs = 5000): Service =>
  service(
    'web',
    { updateStatus: status },
    { replicas: 2, update: { parallelism: 1, delayMs: 0, order: 'stop-first', monitorMs } },
  );

function judge(
  of: Service,
  goal: UpGoal = 'started',
  change: Partial<UpPlan> = {},
  tasks = [task(of, 1), task(of, 2)],
) {
  const progress = judgeUp(show(new ProjectView(), { services: [of], tasks }), {
    services: ['web'],
    goal,
    changes: [{ kind: 'service', name: 'web', action: 'replace', fields: [] }],
    before: new Map(),
    caughtUp: () => true,
    ...change,
  });
  return {
    row: progress.rows.find(({ key }) => key === 'service web')?.status,
    finished: progress.finished,
    failures: progress.failures.map(({ reason }) => reason),
  };
}
const PAUSED = 'updating service "web": paused: container "app-web-1": no such image';

describe('an update, as up shows it', () => {
  const rows: readonly (readonly [UpdateState, string, boolean, readonly string[]])[] = [
    ['updating', 'Updating', false, []],
    ['completed', 'Updated', true, []],
    ['paused', 'Update paused', false, [PAUSED]],
    ['rollback_started', 'Rolling back', false, []],
  ];
  for (const [state, row, finished, failures] of rows) {
    it(`${state}: ${row}`, () => assert.deepEqual(judge(web(updateStatus(state))), { row, finished, failures }));
  }

  for (const [state, message] of [
    ['rollback_completed', 'rolled back: container "app-web-1": it is unhealthy'],
    ['rollback_paused', 'rollback paused: container "app-web-1": it ended'],
  ] as const) {
    it(`${state} ends the command, with the reason`, () => {
      const { finished, failures } = judge(web(updateStatus(state, { message })));
      assert.equal(finished, false);
      assert.deepEqual(failures, [`updating service "web": ${message}`]);
    });
  }

  it('completed with slots that failed is a failure', () => {
    const status = updateStatus('completed', { failed: [2], message: 'update completed; 1 of 2 failed: it ended' });
    assert.deepEqual(judge(web(status)).failures, ['updating service "web": completed; 1 of 2 failed: it ended']);
  });

  it('that was over before this command is no business of it', () => {
    const status = updateStatus('rollback_completed');
    const of = web(status);
    const plan = { updatesBefore: new Map([[of.id as string, status]]) };
    assert.deepEqual(judge(of, 'started', plan), { row: undefined, finished: true, failures: [] });
    const resumed = web({ ...status, state: 'paused', startedAt: T0 + 1 });
    assert.equal(judge(resumed, 'started', plan).row, 'Update paused');
  });

  it('of a service that this command did not touch is not waited for', () => {
    assert.deepEqual(judge(web(updateStatus('updating')), 'started', { changes: [] }), {
      row: undefined,
      finished: true,
      failures: [],
    });
  });

  it('that watches nothing is not waited for when all containers run', () => {
    assert.equal(judge(web(updateStatus('updating'), 0)).finished, true);
    const of = web(updateStatus('updating'), 0);
    assert.equal(judge(of, 'started', {}, [task(of, 1)]).finished, false);
  });

  it('does not hold up who attaches, once every container is made', () => {
    assert.equal(judge(web(updateStatus('updating')), 'created').finished, true);
    const of = web(updateStatus('paused'));
    assert.deepEqual(judge(of, 'created', {}, [task(of, 1)]).failures, [PAUSED]);
  });

  it('decides what a container that failed means: it may be rolled back', () => {
    const of = web(updateStatus('updating'));
    const rejected = task(of, 1, { state: 'rejected', error: 'no such image' });
    assert.deepEqual(judge(of, 'started', {}, [rejected, task(of, 2)]).failures, []);
  });
});
