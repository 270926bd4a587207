import assert from 'node:assert/strict';
import { network, service, show, task } from '../../../test/builders/objects.ts';
import { ProjectView } from '../project/view.ts';
import { judgeDown, tasksToTakeDown } from './down.ts';
import type { DownPlan } from './down.ts';

const web = service('web');
const net = network('default');
const running = task(web, 1);
const plan: DownPlan = { tasks: [running], networks: [net], volumes: [], keeps: false };
const told = (view: ProjectView, of: DownPlan): readonly string[] =>
  judgeDown(view, of).rows.map(({ label, status }) => `${label}: ${status}`);

describe('taking down, as it is shown', () => {
  it('stops, removes, and is finished when all is gone', () => {
    const view = show(new ProjectView(), { services: [web], tasks: [running], networks: [net] });
    assert.deepEqual(told(view, plan), ['Container app-web-1: Stopping', 'Network app_default: Removing']);
    show(view, { tasks: [task(web, 1, { state: 'shutdown' })] });
    assert.deepEqual(told(view, plan)[0], 'Container app-web-1: Removing');
    view.tasks.clear();
    assert.equal(judgeDown(view, plan).finished, false);
    view.networks.clear();
    assert.deepEqual(told(view, plan), ['Container app-web-1: Removed', 'Network app_default: Removed']);
    assert.equal(judgeDown(view, plan).finished, true);
  });

  it('keeps containers when they are only stopped', () => {
    const keeps = { ...plan, networks: [], keeps: true };
    const view = show(new ProjectView(), { services: [web], tasks: [task(web, 1, { state: 'shutdown' })] });
    assert.deepEqual(told(view, keeps), ['Container app-web-1: Stopped']);
    assert.equal(judgeDown(view, keeps).finished, true);
  });

  it('takes one container of each name, and none that has ended when they are kept', () => {
    const old = task(web, 1, { state: 'failed' }, { id: 'old' as never });
    const job = task(web, 2, { state: 'complete', exitCode: 0 });
    const view = show(new ProjectView(), { services: [web], tasks: [old, running, job] });
    assert.deepEqual(
      tasksToTakeDown(view, undefined, false).map(({ id }) => id),
      [running.id, job.id],
    );
    assert.deepEqual(tasksToTakeDown(view, new Set(['web']), true), [running]);
    assert.deepEqual(tasksToTakeDown(view, new Set(['db']), true), []);
  });
});
