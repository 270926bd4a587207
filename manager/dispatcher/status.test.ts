import assert from 'node:assert/strict';
import { service, task } from '../../test/builders/objects.ts';
import { willRestart } from '../model/restart.ts';
import { NODE_DOWN } from '../model/task-state.ts';
import { withStatus } from './status.ts';

describe('what a node reports of a task', () => {
  const web = service('web');
  const reported = (state: 'running' | 'failed' | 'complete') => ({
    ...task(web, 1).status,
    state,
    message: 'said now',
    ...(state === 'running' ? {} : { exitCode: state === 'failed' ? 255 : 0 }),
  });

  it('is taken when it is newer than what is known', () => {
    assert.equal(withStatus(task(web, 1, { state: 'ready' }), reported('running'))?.status.state, 'running');
    assert.equal(withStatus(task(web, 1, { state: 'orphaned' }), reported('failed')), undefined);
  });

  it('of a container that went down with its machine is no failure: it is started again whatever its policy', () => {
    const waited = task(web, 1, { message: NODE_DOWN });
    const down = withStatus(waited, reported('failed'));
    assert.ok(down);
    assert.deepEqual([down.status.state, willRestart(down)], ['orphaned', true]);
    assert.equal(withStatus(waited, reported('running'))?.status.message, 'said now');
    assert.equal(withStatus(waited, reported('complete'))?.status.state, 'complete', 'it had ended by itself');
    const plain = withStatus(task(web, 1), reported('failed'));
    assert.ok(plain);
    assert.deepEqual([plain.status.state, willRestart(plain)], ['failed', false]);
  });
});
