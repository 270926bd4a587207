import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { whileLeaderless } from './while-leaderless.ts';

/** @returns what became of work that fails so many times, and how often it was done */
async function outcome(code: ErrorCode, failures: number, words = 'not now'): Promise<[string, number]> {
  const clock = new VirtualClock();
  let done = 0;
  const work = (): Promise<string> =>
    done++ < failures ? Promise.reject(new TsswarmError(code, words)) : Promise.resolve('done');
  let result: string | undefined;
  void whileLeaderless(clock, work).then(
    (value) => (result = value),
    (error: unknown) => (result = (error as Error).message),
  );
  for (let i = 0; result === undefined && i < 1000; i++) await clock.advance(100);
  return [result ?? 'nothing', done];
}

describe('what is asked while the managers elect a leader', () => {
  it('is asked again', async () => {
    assert.deepEqual(await outcome('NOT_LEADER', 3), ['done', 4]);
    assert.deepEqual(await outcome('OUTCOME_UNKNOWN', 1), ['done', 2]);
  });
  it('is asked again when a manager says that nobody leads at the moment', async () => {
    const words = 'asking the leader: no manager leads at the moment';
    assert.deepEqual(await outcome('UNAVAILABLE', 1, words), ['done', 2]);
  });
  it('is given up after 15 s', async () => {
    const [said, times] = await outcome('NOT_LEADER', Infinity);
    assert.equal(said, 'not now');
    assert.ok(times > 70 && times < 80, String(times));
  });
  it('is refused at once for any other reason', async () => {
    assert.deepEqual(await outcome('PERMISSION_DENIED', 1), ['not now', 1]);
    assert.deepEqual(await outcome('UNAVAILABLE', 1), ['not now', 1]);
  });
});
