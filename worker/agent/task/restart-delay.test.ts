import assert from 'node:assert/strict';
import { T0, service, task } from '../../../test/builders/objects.ts';
import { earliestStart, nextStep } from './step.ts';
import type { TaskObservation } from './step.ts';

const HOUR = 3600_000;
const CONTAINER = { state: 'created' } as TaskObservation['container'];

describe('the restart delay of a task', () => {
  const again = task(service('web'), 1, { state: 'starting' }, { notBefore: T0 + 2000 });
  const step = (seenAt: number, now: number) =>
    nextStep({
      task: again,
      status: again.status,
      container: CONTAINER,
      imageId: 'sha256:1',
      givenUp: '',
      hooked: true,
      listening: true,
      wasFenced: false,
      mayStart: true,
      mayChange: true,
      now,
      startAt: earliestStart(again, seenAt),
    }).action;

  for (const [title, ahead] of [
    ['agrees with the managers', 0],
    ['is an hour behind', -HOUR],
    ['is an hour ahead', HOUR],
  ] as const) {
    it(`is as long on a node whose clock ${title}`, () => {
      const seenAt = T0 + ahead;
      assert.deepEqual([step(seenAt, seenAt + 1999), step(seenAt, seenAt + 2000)], ['wait', 'start']);
    });
  }

  it('is none for a task that is no restart', () => {
    assert.equal(earliestStart(task(service('web'), 1), T0), T0);
  });
});
