import assert from 'node:assert/strict';
import { service, task } from '../../../test/builders/objects.ts';
import type { Task } from '../../../proto/types/index.ts';
import { eventJson, eventLine, eventsBetween } from './derive.ts';

describe('events of containers', () => {
  const web = service('web');
  const made = task(web, 1, { state: 'starting', containerId: 'c1' });
  const status = (of: Task, change: Partial<Task['status']>): Task => ({ ...of, status: { ...of.status, ...change } });
  const running = status(made, { state: 'running', timestamp: 5 });
  const failed = status(running, { state: 'failed', exitCode: 3, error: 'task: non-zero exit' });

  const rows: readonly [
    title: string,
    before: Task | undefined,
    after: Task | undefined,
    actions: readonly string[],
  ][] = [
    ['nothing without a container', undefined, status(made, { containerId: '' }), []],
    ['made', status(made, { containerId: '' }), made, ['create']],
    ['made and started at once', undefined, running, ['create', 'start']],
    ['started', made, running, ['start']],
    ['healthy', running, status(running, { health: 'healthy' }), ['health_status: healthy']],
    ['ended', running, failed, ['die']],
    ['stopped', running, { ...failed, desiredState: 'shutdown' }, ['die', 'stop']],
    ['out of memory', running, status(failed, { error: 'out of memory' }), ['oom', 'die']],
    ['started again and ended unseen', failed, status(failed, { restartCount: 1 }), ['start', 'die']],
    ['removed', failed, undefined, ['destroy']],
    ['on its way out', running, status(running, { state: 'remove' }), ['destroy']],
    ['gone after that', status(running, { state: 'remove' }), undefined, []],
  ];
  for (const [title, before, after, actions] of rows) {
    it(title, () =>
      assert.deepEqual(
        eventsBetween(before, after, 9).map(({ action }) => action),
        actions,
      ),
    );
  }

  it('are printed as Compose prints them', () => {
    const [event] = eventsBetween(running, failed, 9);
    assert.ok(event);
    assert.match(
      eventLine(event),
      /^1970-01-0\d \d\d:\d\d:00\.005000 container die c1 \(exitCode=3, image=\S+, name=\S+\)\n$/,
    );
    const read = JSON.parse(eventJson(event)) as Record<string, unknown>;
    assert.deepEqual([read['action'], read['id'], read['service'], read['type']], ['die', 'c1', 'web', 'container']);
  });
});
