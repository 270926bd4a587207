import assert from 'node:assert/strict';
import type { RestartPolicy, TaskState } from '../../proto/types/index.ts';
import { service, task, T0 } from '../../test/builders/objects.ts';
import { taskSpec } from '../../test/builders/specs.ts';
import { nextRestarts, restartDelayMs, willRestart } from './restart.ts';

const policy = (change: Partial<RestartPolicy>): RestartPolicy => ({
  condition: 'any',
  delayMs: 1000,
  maxDelayMs: 60_000,
  maxAttempts: 0,
  windowMs: 0,
  ...change,
});
const ended = (change: Partial<RestartPolicy>, state: TaskState = 'failed', rest: Parameters<typeof task>[3] = {}) => {
  const of = service('web', {}, { task: taskSpec({ restart: policy(change) }) });
  return task(of, 1, { state, timestamp: T0 }, rest);
};

describe('restart policy', () => {
  const conditions: readonly (readonly [RestartPolicy['condition'], TaskState, boolean])[] = [
    ['any', 'failed', true],
    ['any', 'complete', true],
    ['any', 'rejected', true],
    ['on-failure', 'failed', true],
    ['on-failure', 'rejected', true],
    ['on-failure', 'complete', false],
    ['none', 'failed', false],
    ['none', 'complete', false],
    // Stopped because somebody wanted it to be.
    ['any', 'shutdown', false],
    // Its node was lost: it did not end.
    ['none', 'orphaned', true],
    ['any', 'running', false],
  ];
  for (const [condition, state, expected] of conditions) {
    it(`${condition} ${expected ? 'restarts' : 'does not restart'} a task that is ${state}`, () => {
      assert.equal(willRestart(ended({ condition }, state)), expected);
    });
  }

  describe('max_attempts', () => {
    for (const [attempt, expected] of [
      [0, true],
      [2, true],
      [3, false],
    ] as const) {
      it(`of 3 without a window, after ${attempt} restarts: ${expected ? 'once more' : 'no more'}`, () => {
        assert.equal(willRestart(ended({ maxAttempts: 3 }, 'failed', { attempt })), expected);
      });
    }
    // As swarmkit counts: restarts of the slot in the window before the end of the task.
    const rows: readonly (readonly [string, readonly number[], boolean])[] = [
      ['none so far', [], true],
      ['one in the window', [-5000], true],
      ['two in the window', [-9000, -5000], false],
      ['two, one of them before the window', [-11_000, -5000], true],
      ['two, one of them just at its beginning', [-10_000, -5000], true],
      ['many, all before the window', [-30_000, -20_000], true],
    ];
    for (const [title, ago, expected] of rows) {
      it(`of 2 in a window of 10 s: ${title}: ${expected ? 'once more' : 'no more'}`, () => {
        const restartedAt = ago.map((time) => T0 + time);
        const one = ended({ maxAttempts: 2, windowMs: 10_000 }, 'failed', { attempt: 9, restartedAt });
        assert.equal(willRestart(one), expected);
      });
    }
    it('remembers no more restarts than it can ask for', () => {
      const one = ended({ maxAttempts: 2, windowMs: 10_000 }, 'failed', { restartedAt: [1, 2] });
      assert.deepEqual(nextRestarts(one, 3), [2, 3]);
      assert.deepEqual(nextRestarts(ended({ maxAttempts: 2 }), 3), []);
      assert.deepEqual(nextRestarts(ended({ windowMs: 5 }), 3), []);
    });
  });

  describe('with a node whose clock is off', () => {
    const HOUR = 3600_000;
    for (const skewMs of [-HOUR, 0, HOUR]) {
      it(`by ${skewMs} ms, forgives what has run for ten seconds there, and nothing else`, () => {
        const after = (ranMs: number | undefined): number => {
          const [createdAt, waitedMs] = [T0, 4000];
          const meta = { version: 1, createdAt, updatedAt: createdAt };
          const one = ended({}, 'failed', { attempt: 3, meta, notBefore: createdAt + waitedMs });
          const timestamp = createdAt + skewMs + 60_000;
          const status = { ...one.status, timestamp, ageMs: 60_000, ...(ranMs === undefined ? {} : { ranMs }) };
          return restartDelayMs({ ...one, status });
        };
        assert.deepEqual([after(undefined), after(9_999), after(10_000)], [8000, 8000, 1000]);
      });

      it(`by ${skewMs} ms, counts restarts in the window by the managers' clock`, () => {
        const may = (ageMs: number): boolean => {
          const restartedAt = [T0 - 8000, T0];
          const one = ended({ maxAttempts: 2, windowMs: 10_000 }, 'failed', { attempt: 9, restartedAt });
          const status = { ...one.status, timestamp: T0 + ageMs + skewMs, ageMs };
          return willRestart({ ...one, meta: { version: 1, createdAt: T0, updatedAt: T0 }, status });
        };
        assert.deepEqual([may(1_999), may(2_000)], [false, true]);
      });
    }
  });

  it('doubles the delay at every failure in a row, and forgets it after ten seconds of running', () => {
    const after = (waitedMs: number, ranMs: number): number => {
      const createdAt = T0 - ranMs - waitedMs;
      const meta = { version: 1, createdAt, updatedAt: T0 };
      return restartDelayMs(ended({}, 'failed', { attempt: 3, meta, notBefore: createdAt + waitedMs }));
    };
    assert.deepEqual(
      [after(1000, 10), after(2000, 10), after(40_000, 10), after(8000, 9999), after(8000, 10_000)],
      [2000, 4000, 60_000, 16_000, 1000],
    );
  });

  it('doubles what was decided, also where the decision took long to become a task', () => {
    const delays: number[] = [];
    let restartDelay = 1000;
    for (const lateMs of [0, 30, 900, 5000]) {
      const meta = { version: 1, createdAt: T0 + lateMs, updatedAt: T0 + lateMs };
      const again = { attempt: 3, meta, notBefore: T0 + restartDelay, restartDelayMs: restartDelay };
      restartDelay = restartDelayMs(ended({}, 'failed', again));
      delays.push(restartDelay);
    }
    assert.deepEqual(delays, [2000, 4000, 8000, 16_000]);
  });
});
