import assert from 'node:assert/strict';
import type { ContainerInfo } from '../../../node-engine/types.ts';
import type { Task, TaskStatus } from '../../../proto/types/index.ts';
import { containerSpec } from '../../../test/builders/container-spec.ts';
import { service, task, T0 } from '../../../test/builders/objects.ts';
import { taskSpec } from '../../../test/builders/specs.ts';
import { nextStep } from './step.ts';
import type { TaskObservation } from './step.ts';

const hook = { command: ['a'], user: '', privileged: false, workingDir: '', env: [] };
const spec = taskSpec({ container: containerSpec({ postStart: [hook], preStop: [hook] }) });
const WEB = service('web', {}, { task: spec });
const container = (state: ContainerInfo['state']): ContainerInfo => ({
  id: 'c' as ContainerInfo['id'],
  name: 'c',
  imageId: 'i',
  image: 'x',
  labels: {},
  state,
  pid: 1,
  createdAt: T0,
  startedAt: T0,
  finishedAt: 0,
  exit: state === 'exited' ? { code: 143, oomKilled: false, at: T0 } : undefined,
  argv: [],
  healthCheck: undefined,
  stopSignal: '',
  tty: false,
  specVersion: 1,
});

/** The step for a task whose container runs, unless it is said otherwise. */
function step(status: Partial<TaskStatus>, change: Partial<Task> = {}, seen: Partial<TaskObservation> = {}): string {
  const applied = { specVersion: 1, how: 'started', reason: '' } as const;
  const one = { ...task(WEB, 1, { applied, ...status }), ...change };
  const next = nextStep({
    task: { ...one, spec: { ...one.spec, container: spec.container } },
    status: one.status,
    container: container('running'),
    imageId: 'i',
    hooked: false,
    listening: true,
    givenUp: '',
    mayStart: true,
    mayChange: true,
    wasFenced: false,
    now: T0,
    startAt: T0,
    ...seen,
  });
  return next.action === 'report' ? `report ${next.state}: ${next.message}` : next.action;
}

describe('the next step of a task whose spec is another than its container has', () => {
  const fresh = { specVersion: 2 };
  const refused = { specVersion: 2, reason: 'the kernel would not' };
  const told = { specVersion: 2, how: 'live', reason: '' } as const;
  const rows: readonly (readonly [string, string, string])[] = [
    ['is to change it', step({ state: 'running' }, fresh), 'change'],
    ['waits for what a changed container needs', step({ state: 'running' }, fresh, { mayChange: false }), 'wait'],
    ['is not tried again when the container did not take it', step({ state: 'running', refused }, fresh), 'wait'],
    ['is to tell that it was changed', step({ state: 'running' }, fresh, { container: { ...container('running'), specVersion: 2 } }), 'change'],
    ['is none when that is told', step({ state: 'running', applied: told }, fresh, { container: { ...container('running'), specVersion: 2 } }), 'wait'],
    ['comes before a restart', step({ state: 'running' }, { ...fresh, restartCount: 1 }), 'change'],
    ['comes after the end', step({ state: 'running' }, { ...fresh, desiredState: 'shutdown' }), 'stop'],
  ]; // prettier-ignore
  for (const [title, actual, expected] of rows) it(title, () => assert.equal(actual, expected));
});

describe('the next step of a task with hooks', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['runs them before it counts as running', step({ state: 'starting' }), 'postStart'],
    ['counts as running when they have ended well', step({ state: 'starting' }, {}, { hooked: true }), 'report running: started'], 
    ['does not run them again when it was said to run', step({ state: 'running' }), 'wait'],
    ['is stopped when one failed', step({ state: 'starting' }, {}, { givenUp: 'post_start hook "a": …' }), 'stop'],
    ['has failed by that', step({ state: 'starting' }, {}, { givenUp: 'post_start …', container: container('exited') }), 'report failed: post_start …'],
    ['has failed by its own exit otherwise', step({ state: 'starting' }, {}, { container: container('exited') }), 'report failed: exited (143)'],
    ['does not run them when it shall stop already', step({ state: 'starting' }, { desiredState: 'shutdown' }), 'stop'],
  ]; // prettier-ignore
  for (const [title, actual, expected] of rows) it(title, () => assert.equal(actual, expected));
});

describe('the next step of a task that others still lead to', () => {
  const draining = { draining: true, desiredState: 'remove' as const };
  const rows: readonly (readonly [string, string, string])[] = [
    ['is to wait', step({}, draining), 'wait'],
    ['is to stop when nobody does any more', step({}, { desiredState: 'remove' }), 'stop'],
    ['is to stop when it is no use any more', step({}, draining, { givenUp: 'unhealthy' }), 'stop'],
    ['is to stop when the lease of the node ends', step({}, draining, { fencedMs: 100 }), 'stop'],
    ['is what follows when it ended by itself', step({}, draining, { container: container('exited') }), 'remove'],
  ];
  for (const [title, actual, expected] of rows) it(title, () => assert.equal(actual, expected));
});

describe('the next step of a task on a node without a lease', () => {
  const withoutLease = (state: 'created' | 'running', status: Partial<TaskStatus>) => (mayStart: boolean) =>
    step(status, {}, { mayStart, container: container(state) });
  const prepared = withoutLease('created', { state: 'starting' });
  const serving = withoutLease('running', { state: 'running' });

  it('is to wait where it would be started', () => {
    assert.equal(prepared(true), 'start');
    assert.equal(prepared(false), 'wait');
  });

  it('is what it was where it runs: that is for the end of the lease', () =>
    assert.equal(serving(false), serving(true)));
});

describe('the next step of a task that was to be restarted in place, and whose container has ended', () => {
  const asked = { restartCount: 1 };
  const ended = { container: container('exited') };

  it('is to restart it, when it may be started', () => {
    assert.equal(step({ state: 'running' }, asked, ended), 'restart');
    assert.equal(step({ state: 'running' }, asked, { ...ended, mayStart: false }), 'wait');
  });

  it('is none where the managers take it for ended, which the daemon before this one said', () => {
    const { status } = task(WEB, 1, { state: 'running' });
    assert.equal(step({ state: 'orphaned' }, asked, { ...ended, status }), 'wait');
    assert.equal(step({ state: 'orphaned' }, asked, { status }), 'stop');
  });
});
