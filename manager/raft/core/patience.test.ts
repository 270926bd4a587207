import assert from 'node:assert/strict';
import { RaftGroup } from '../../../test/fakes/raft-group.ts';
import { patienceMs } from './patience.ts';

/** "a" leads b and c; timeouts of 300 ms, of which the election begins after one and a half, heartbeats each 50 ms. */
const led = (): RaftGroup => {
  const group = new RaftGroup({ a: {}, b: {}, c: {} });
  group.elect('a');
  return group;
};
/** The leader is held up: for so long nothing happens at "a". */
const holdUp = (group: RaftGroup, ms: number): void => {
  group.now += ms;
  for (const id of ['b', 'c']) if (group.now >= group.core(id).electionDeadlineMs) group.tick(id);
  group.tick('a');
  group.deliver();
};
const patience = (group: RaftGroup, id: string): number => patienceMs(group.core(id), group.now);

describe('the patience of a server', () => {
  it('is the election timeout while heartbeats come in time', () => {
    const group = led();
    group.pass(3000, 'a');
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => patience(group, id)),
      [300, 300, 300],
    );
  });

  it('grows with silences that end by themselves, up to four timeouts, and is forgotten', () => {
    const group = led();
    holdUp(group, 280);
    assert.equal(group.core('a').role, 'leader');
    assert.deepEqual(
      ['b', 'c'].map((id) => patience(group, id)),
      [560, 560],
    );
    holdUp(group, 700);
    assert.equal(group.core('a').role, 'leader', 'the others wait for longer than that now');
    assert.deepEqual(
      ['b', 'c'].map((id) => patience(group, id)),
      [1200, 1200],
    );
    group.pass(1300, 'a');
    assert.ok(patience(group, 'b') < 720 && patience(group, 'b') > 600, String(patience(group, 'b')));
    group.pass(3000, 'a');
    assert.equal(patience(group, 'b'), 300);
  });

  it('says when a leader that is silent is missed', () => {
    const group = led();
    group.pass(1000, 'a');
    group.now += 460;
    group.tick('b');
    assert.equal(group.core('b').role, 'pre-candidate', 'one that was never late');
    const late = led();
    holdUp(late, 280);
    late.now += 460;
    late.tick('b');
    assert.equal(late.core('b').role, 'follower', 'one that was late before');
    late.now += 400;
    late.tick('b');
    assert.equal(late.core('b').role, 'pre-candidate');
  });

  it('grows when votes do not come in time', () => {
    const group = led();
    const spans: number[] = [];
    for (let i = 0; i < 4; i++) {
      group.now = group.core('b').electionDeadlineMs;
      const { now } = group;
      group.tick('b');
      // Whom it asks before is there; who is to vote is not.
      group.deliver(({ kind }) => kind === 'vote');
      assert.equal(group.core('b').role, 'candidate');
      spans.push(group.core('b').electionDeadlineMs - now);
    }
    assert.ok(
      spans.every((span, at) => span >= (spans[at - 1] ?? 0)),
      String(spans),
    );
    assert.ok((spans[0] ?? 0) === 450 && (spans.at(-1) ?? 0) > 1000, String(spans));
  });

  it('of the leader is not used up by time in which it was held up itself', () => {
    const group = led();
    group.pass(1000, 'a');
    // Nobody has stood for election; the answers to the last heartbeats lie unread.
    group.now += 5000;
    group.tick('a');
    assert.equal(group.core('a').role, 'leader', 'it listens first');
    group.deliver();
    group.pass(100, 'a');
    assert.equal(group.core('a').role, 'leader');
  });

  it('of the leader ends when nobody answers it after that either', () => {
    const group = led();
    group.pass(1000, 'a');
    group.now += 5000;
    group.tick('a');
    group.deliver(() => true);
    group.now += 51;
    group.tick('a');
    assert.equal(group.core('a').role, 'follower');
  });
});
