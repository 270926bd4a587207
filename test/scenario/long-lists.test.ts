import assert from 'node:assert/strict';
import { seededRandom } from '../../base/random.ts';
import type { ProjectId, TaskId } from '../../base/ids.ts';
import { withWholeLists } from '../../cli/local-node/pages.ts';
import { ProjectView } from '../../cli/tscompose/project/view.ts';
import { createControl } from '../../manager/control/server.ts';
import { memoryStore } from '../../manager/store/memory.ts';
import type { Store } from '../../manager/store/index.ts';
import type { ListObjectsRequest } from '../../proto/types/index.ts';
import { service, task } from '../builders/objects.ts';
import { VirtualClock } from '../fakes/virtual-clock.ts';

const signal = new AbortController().signal;
const TASKS = 4_500;

describe('lists of more tasks than go into a message', () => {
  const web = service('web');
  let store: Store;
  let control: ReturnType<typeof createControl>;
  before(async () => {
    const clock = new VirtualClock();
    store = memoryStore(clock);
    control = createControl({ store, clock, random: seededRandom(1) });
    await store.update((tx) => {
      tx.create('project', { id: 'project' as ProjectId, name: 'app' } as never);
      tx.create('service', web);
      for (let slot = 1; slot <= TASKS; slot++) tx.create('task', task(web, slot));
    });
  });
  const all = (): string[] => store.view((tx) => tx.list('task').map(({ id }) => id as string)).toSorted();

  it('are read in pages, each task once, whoever comes and goes meanwhile', async () => {
    const asked: ListObjectsRequest[] = [];
    const lists = withWholeLists({
      listObjects: async (request: ListObjectsRequest) => {
        asked.push(request);
        const answer = await control.listObjects(request, signal);
        // One that has been told of already goes, and one comes that sorts behind all others.
        if (asked.length === 1)
          await store.update((tx) => {
            tx.remove('task', answer.tasks[0]?.id as TaskId);
            tx.create('task', task(web, 1, {}, { id: 'zzz' as TaskId }));
          });
        return answer;
      },
    } as never);
    const before = all();
    const { projects, services, tasks } = await lists.listObjects({ project: '' });
    assert.equal(asked.length, 3);
    assert.deepEqual([projects.length, services.length], [1, 1]);
    assert.deepEqual(
      tasks.map(({ id }) => id),
      [...before, 'zzz'],
    );
    const later = await lists.listObjects({ project: '', serviceId: web.id });
    assert.deepEqual(
      later.tasks.map(({ id }) => id),
      all(),
    );
  });

  it('are one message for who does not read on: a command of before', async () => {
    const answer = await control.listObjects({ project: 'app' }, signal);
    assert.equal(answer.tasks.length, all().length);
    assert.equal(answer.moreAfter, undefined);
  });

  it('are told to who watches in several messages, the first of which begins anew', async () => {
    const view = new ProjectView();
    const sizes: number[] = [];
    const end = new AbortController();
    for await (const event of control.watchProject({ project: 'app' }, end.signal)) {
      assert.equal(event.complete, sizes.length === 0);
      sizes.push(event.tasks.length);
      view.take(event);
      if (view.tasks.size === all().length) break;
    }
    assert.deepEqual(sizes, [2000, 2000, 500]);
    assert.deepEqual([...view.tasks.keys()].toSorted(), all());
  });
});
