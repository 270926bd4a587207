import assert from 'node:assert/strict';
import { silentLogger } from '../../../base/log.ts';
import type { Task, TaskStatus } from '../../../proto/types/index.ts';
import { service, task } from '../../../test/builders/objects.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { createReports } from './loop.ts';

const TASK = task(service('web'), 1);
const { container } = TASK.spec;
const mounting = (mount: object): Task => ({
  ...TASK,
  spec: { ...TASK.spec, container: { ...container, mounts: [mount as never] } },
});

/** Says one state after the other, so many ms apart. @returns what was told, and when */
async function told(of: Task, said: readonly TaskStatus['state'][], apartMs: number, error = ''): Promise<string> {
  const clock = new VirtualClock();
  const began = clock.monotonic();
  const heard: string[] = [];
  const reports = createReports({
    send: ({ updates }) => {
      heard.push(`${updates.map(({ status }) => status.state).join()} at ${clock.monotonic() - began}`);
      return Promise.resolve();
    },
    onReport: () => undefined,
    onHeard: () => undefined,
    clock,
    logger: silentLogger,
  });
  for (const state of said) {
    reports.say(of.id, { ...of.status, state, error }, of);
    await clock.advance(apartMs);
  }
  await clock.advance(1_000);
  reports.close();
  return heard.join('; ');
}

describe('what a node tells of a task', () => {
  const START = ['accepted', 'preparing', 'ready', 'starting', 'running'] as const;
  const rows: readonly (readonly [string, Promise<string>, string])[] = [
    ['is once that it runs, where it soon does', told(TASK, START, 10), 'running at 41'],
    ['is on the way what takes long', told(TASK, START, 200), 'preparing at 300; starting at 700; running at 801'],
    [
      'is at once that it is prepared, where somebody waits for that',
      told({ ...TASK, desiredState: 'ready' }, ['accepted', 'preparing', 'ready'], 10),
      'ready at 21',
    ],
    [
      'and where it has volumes',
      told(mounting({ type: 'volume', source: 'data' }), START, 10),
      'ready at 21; running at 41',
    ],
    [
      'and where a folder is made for it',
      told(mounting({ type: 'bind', source: '/srv', createHostPath: true }), START, 10),
      'ready at 21; running at 41',
    ],
    [
      'but not where there is one',
      told(mounting({ type: 'bind', source: '/srv', createHostPath: false }), START, 10),
      'running at 41',
    ],
    ['is at once what went wrong', told(TASK, ['preparing'], 10, 'no such image'), 'preparing at 1'],
  ];
  for (const [title, outcome, expected] of rows) it(title, async () => assert.equal(await outcome, expected));
});
