import assert from 'node:assert/strict';
import { service, task } from '../../test/builders/objects.ts';
import { withStatus } from './status.ts';

describe('a report of a task', () => {
  const web = service('web');
  const after = (known: Parameters<typeof task>[2], said: Parameters<typeof task>[2]) =>
    withStatus(task(web, 1, known), task(web, 1, said).status)?.status.state;

  it('is taken when the task has come further', () => {
    assert.equal(after({ state: 'starting' }, { state: 'running' }), 'running');
  });
  it('is taken when only what is said of the state is new', () => {
    assert.equal(after({ state: 'running', health: 'starting' }, { state: 'running', health: 'healthy' }), 'running');
  });
  it('that says nothing new changes nothing', () => {
    assert.equal(after({ state: 'running' }, { state: 'running' }), undefined);
  });
  it('that comes late is not believed: a task that was given up stays so', () => {
    assert.equal(after({ state: 'orphaned' }, { state: 'failed' }), undefined);
    assert.equal(after({ state: 'running' }, { state: 'starting' }), undefined);
  });
});
