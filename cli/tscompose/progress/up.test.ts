import assert from 'node:assert/strict';
import type { Service, Task } from '../../../proto/types/index.ts';
import { network, service, show, task } from '../../../test/builders/objects.ts';
import { ProjectView } from '../project/view.ts';
import { judgeAttached } from '../attached/attach.ts';
import { judgeUp } from './up.ts';
import type { UpGoal, UpPlan, UpProgress } from './up.ts';

const db = service('db');
const web = service(
  'web',
  {},
  {
    dependsOn: [{ service: 'db', condition: 'healthy', required: true, restart: false }],
  },
);
const byId = (tasks: readonly Task[]): ReadonlyMap<string, Task> =>
  new Map(tasks.map((one) => [one.id as string, one]));

function judge(
  services: readonly Service[],
  tasks: readonly Task[],
  goal: UpGoal = 'started',
  change: Partial<UpPlan> = {},
): UpProgress {
  const view = show(new ProjectView(), { services, tasks });
  return judgeUp(view, {
    services: services.map(({ spec }) => spec.composeName),
    goal,
    changes: [],
    before: new Map(),
    caughtUp: () => true,
    ...change,
  });
}
const told = ({ rows }: UpProgress): readonly string[] => rows.map(({ label, status }) => `${label}: ${status}`);

describe('bringing up, as it is shown', () => {
  it('ends when another command takes a service down meanwhile', () => {
    let gone = false;
    const isTakenDown = (): boolean => gone;
    const plan = { services: ['db'], isTakenDown };
    assert.deepEqual(judge([], [], 'started', plan).failures, []);
    gone = true;
    const { failures, finished } = judge([], [], 'started', plan);
    assert.equal(finished, false);
    assert.deepEqual(
      failures.map(({ reason }) => reason),
      ['waiting for service "db": another command has taken it down'],
    );
  });

  const created = task(db, 1, { state: 'ready', message: 'prepared' });
  describe('one container', () => {
    const rows: readonly (readonly [string, Task | undefined, UpGoal, string, boolean])[] = [
      ['has no task yet', undefined, 'started', 'Creating', false],
      ['is being placed', task(db, 1, { state: 'pending', message: 'allocated' }), 'started', 'Creating', false],
      [
        'fits on no node',
        task(db, 1, { state: 'pending', message: 'no node fits' }, { nodeId: '' }),
        'started',
        'Pending',
        false,
      ],
      ['is prepared', created, 'started', 'Created', false],
      ['is prepared, which is enough for the logs', created, 'created', 'Created', true],
      ['is starting', task(db, 1, { state: 'starting' }), 'started', 'Starting', false],
      ['runs', task(db, 1), 'started', 'Started', true],
      ['has ended well', task(db, 1, { state: 'complete', exitCode: 0 }), 'started', 'Exited (0)', true],
      [
        'has ended badly after it was started',
        task(db, 1, { state: 'failed', exitCode: 2 }),
        'started',
        'Exited (2)',
        true,
      ],
      ['is not healthy yet', task(db, 1, { health: 'starting' }), 'healthy', 'Waiting', false],
      [
        'is not healthy yet, and nobody waits for that',
        task(db, 1, { health: 'starting' }),
        'started',
        'Started',
        true,
      ],
      ['is healthy', task(db, 1, { health: 'healthy' }), 'healthy', 'Healthy', true],
      ['has no check: running is all that can be asked', task(db, 1), 'healthy', 'Started', true],
      [
        'has ended well, which --wait takes for done',
        task(db, 1, { state: 'complete', exitCode: 0 }),
        'healthy',
        'Exited (0)',
        true,
      ],
    ];
    for (const [title, one, goal, status, finished] of rows) {
      it(title, () => {
        const progress = judge([db], one === undefined ? [] : [one], goal);
        assert.deepEqual(told(progress), [`Container app-db-1: ${status}`]);
        assert.equal(progress.finished, finished);
        assert.deepEqual(progress.failures, []);
      });
    }
  });

  describe('failures', () => {
    const reason = 'exec "nosuch": executable file not found';
    it('a container that cannot be started, with its reason', () => {
      const progress = judge([db], [task(db, 1, { state: 'rejected', error: reason })]);
      assert.deepEqual(progress.failures, [{ service: 'db', container: 'app-db-1', reason }]);
      assert.equal(progress.finished, false);
    });
    it('also when the restart policy tries it again', () => {
      const again = service(
        'db',
        {},
        { task: { ...db.spec.task, restart: { ...db.spec.task.restart, condition: 'any' } } },
      );
      const first = task(again, 1, { state: 'rejected', error: reason });
      const second = task(again, 1, { state: 'pending' }, { id: 'next' as Task['id'], attempt: 1 });
      assert.deepEqual(
        judge([again], [first, second]).failures.map((failure) => failure.reason),
        [reason],
      );
      const before = new Map([[first.id as string, first]]);
      assert.deepEqual(
        judge([again], [first, second], 'started', { before }).failures,
        [],
        'an old failure is no news',
      );
    });
    it('with --wait a container that ends badly or is unhealthy', () => {
      assert.equal(judge([db], [task(db, 1, { state: 'failed', exitCode: 2 })], 'healthy').failures.length, 1);
      assert.equal(judge([db], [task(db, 1, { health: 'unhealthy' })], 'healthy').failures.length, 1);
    });
  });

  it('waits for a dependency, and says for what', () => {
    const held = task(web, 1, { state: 'new', message: 'waiting for db to be healthy' }, { held: true });
    const progress = judge([db, web], [task(db, 1, { health: 'starting' }), held]);
    assert.deepEqual(told(progress), ['Container app-db-1: Waiting', 'Container app-web-1: Waiting']);
    assert.equal(progress.rows[1]?.detail, 'for db to be healthy');
    assert.equal(progress.finished, false);
    const done = judge([db, web], [task(db, 1, { health: 'healthy' }), task(web, 1)]);
    assert.deepEqual(told(done), ['Container app-db-1: Healthy', 'Container app-web-1: Started']);
    assert.equal(done.finished, true);
  });

  it('says of what ran already that it runs', () => {
    const running = task(db, 1);
    const progress = judge([db], [running], 'started', { before: byId([running]) });
    assert.deepEqual(told(progress), ['Container app-db-1: Running']);
  });

  it('says of a container that waited for a node that it is started, not started again', () => {
    const running = task(db, 1);
    const waiting = { ...running, status: { ...running.status, state: 'pending' as const } };
    const progress = judge([db], [running], 'started', { before: byId([waiting]) });
    assert.deepEqual(told(progress), ['Container app-db-1: Started']);
  });

  it('waits for a restart in place', () => {
    const before = task(db, 1);
    const restarting = { ...db, restartCount: 1 };
    const during = judge([restarting], [before], 'started', { before: byId([before]) });
    assert.deepEqual([told(during), during.finished], [['Container app-db-1: Restarting'], false]);
    const after = task(restarting, 1);
    assert.deepEqual(told(judge([restarting], [after], 'started', { before: byId([before]) })), [
      'Container app-db-1: Restarted',
    ]);
  });

  it('shows how a container is replaced', () => {
    const next = { ...db, specVersion: 2 };
    const old = task(db, 1);
    assert.deepEqual(told(judge([next], [old])), ['Container app-db-1: Recreate']);
    const fresh = task(next, 1, { state: 'preparing', message: 'pulling busybox' }, { id: 'fresh' as Task['id'] });
    const progress = judge([next], [old, fresh]);
    assert.deepEqual(told(progress), ['Container app-db-1: Recreating']);
    assert.equal(progress.rows[0]?.detail, 'pulling busybox');
  });

  it('is not finished before the view shows what was asked for', () => {
    const running = task(db, 1);
    assert.equal(judge([db], [running], 'started', { caughtUp: () => false }).finished, false);
  });

  it('shows networks until they have their addresses', () => {
    const changes = [{ kind: 'network', name: 'app_default', action: 'create', fields: [] }] as const;
    const plan: UpPlan = { services: [], goal: 'started', changes, before: new Map(), caughtUp: () => true };
    const view = show(new ProjectView(), { networks: [network('default', { subnet: '' })] });
    assert.deepEqual(told(judgeUp(view, plan)), ['Network app_default: Creating']);
    show(view, { networks: [network('default')] });
    assert.deepEqual(told(judgeUp(view, plan)), ['Network app_default: Created']);
  });

  it('shows what goes when a service gets fewer replicas', () => {
    const second = task(db, 2);
    const before = byId([task(db, 1), second]);
    const during = judge([db], [task(db, 1), second], 'started', { before });
    assert.deepEqual([told(during)[0], during.finished], ['Container app-db-2: Removing', false]);
    const after = judge([db], [task(db, 1)], 'started', { before });
    assert.deepEqual([told(after)[0], after.finished], ['Container app-db-2: Removed', true]);
  });
});

describe('an attached up', () => {
  const outcome = (
    tasks: readonly Task[],
    abortOn: 'never' | 'exit' | 'failure' = 'never',
    before = new Map<string, Task>(),
  ) =>
    judgeAttached(show(new ProjectView(), { services: [db, service('web')], tasks }), {
      services: ['db', 'web'],
      before,
      abortOn,
    });
  const other = task(service('web'), 1);
  const ended = task(db, 1, { state: 'complete', exitCode: 0 });
  const failed = task(db, 1, { state: 'failed', exitCode: 3 });

  it('goes on while something runs', () => assert.equal(outcome([ended, other]), undefined));
  it('ends when all have ended', () => {
    const both = [ended, task(service('web'), 1, { state: 'failed', exitCode: 1 })];
    assert.deepEqual(outcome(both), { kind: 'ended' });
  });
  it('stops all at the first end, if asked to', () => {
    assert.deepEqual(outcome([ended, other], 'exit'), { kind: 'aborting', code: 0 });
    assert.equal(outcome([ended, other], 'failure'), undefined);
    assert.deepEqual(outcome([failed, other], 'failure'), { kind: 'aborting', code: 3 });
  });
  it('takes no end for news that was there before', () => {
    assert.equal(outcome([failed, other], 'exit', new Map([[failed.id as string, failed]])), undefined);
  });
  it('tells a container that cannot be started', () => {
    const rejected = task(db, 1, { state: 'rejected', error: 'why' });
    assert.deepEqual(outcome([rejected, other]), {
      kind: 'failed',
      failure: { service: 'db', container: 'app-db-1', reason: 'why' },
    });
  });
});
