import assert from 'node:assert/strict';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import type { RemoveProjectResponse } from '../../proto/types/index.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { repeating } from './repeating.ts';

const DONE: RemoveProjectResponse = { found: true, keptNetworks: [], warnings: [] };
const LOCAL: Caller = { kind: 'local' };

/** Asks with what the answers are one after the other: an error's code, or that it is done. */
async function outcome(
  answers: readonly (ErrorCode | 'done')[],
  ask: { readonly caller?: Caller; readonly forced?: boolean; readonly services?: readonly string[] } = {},
): Promise<{ readonly asked: number; readonly end: string }> {
  const clock = new VirtualClock();
  let asked = 0;
  const answer = (): Promise<never> => {
    const next = answers[Math.min(asked++, answers.length - 1)];
    return next === 'done' || next === undefined
      ? Promise.resolve(DONE as never)
      : Promise.reject(new TsswarmError(next, 'asking: a test'));
  };
  const control = repeating({ applyProject: answer, removeProject: answer } as never, clock);
  const { signal } = new AbortController();
  const caller = ask.caller ?? LOCAL;
  const call =
    ask.forced === undefined
      ? control.removeProject({ name: 'shop', services: ask.services ?? [] } as never, signal, caller)
      : control.applyProject({ forceRecreate: ask.forced ? ['web'] : [] } as never, signal, caller);
  let end: string | undefined;
  void (call as Promise<unknown>).then(
    () => (end = 'done'),
    (error: unknown) => (end = isTsswarmError(error) ? error.code : String(error)),
  );
  for (let i = 0; end === undefined && i < 1_000; i++) await clock.advance(100);
  return { asked, end: end ?? 'nothing' };
}

describe('what may be asked for twice', () => {
  it('is asked for again when the leader was lost before it answered', async () => {
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN', 'done']), { asked: 3, end: 'done' });
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'done'], { forced: false }), { asked: 2, end: 'done' });
  });
  it('is not, where containers would be replaced twice or services not be found any more, or by the manager that it was passed on to', async () => {
    const [asked, end] = [1, 'OUTCOME_UNKNOWN'];
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'done'], { forced: true }), { asked, end });
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'done'], { services: ['web'] }), { asked, end });
    const caller = { kind: 'local', via: 'another' } as unknown as Caller;
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'done'], { caller }), { asked, end });
  });
  it('is not, where it was refused', async () => {
    assert.deepEqual(await outcome(['CONFLICT', 'done']), { asked: 1, end: 'CONFLICT' });
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'CONFLICT']), { asked: 2, end: 'CONFLICT' });
  });
  it('is asked for on while nobody leads, if that came after it', async () => {
    assert.deepEqual(await outcome(['OUTCOME_UNKNOWN', 'UNAVAILABLE', 'NOT_LEADER', 'done']), {
      asked: 4,
      end: 'done',
    });
    assert.deepEqual(await outcome(['UNAVAILABLE']), { asked: 1, end: 'UNAVAILABLE' });
  });
  it('is given up after a while, and its outcome is unknown', async () => {
    for (const answers of [['OUTCOME_UNKNOWN'], ['OUTCOME_UNKNOWN', 'UNAVAILABLE']] as const) {
      const { asked, end } = await outcome(answers);
      assert.equal(end, 'OUTCOME_UNKNOWN');
      assert.ok(asked > 10 && asked < 100, String(asked));
    }
  });
});
