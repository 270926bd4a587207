import assert from 'node:assert/strict';
import { RaftGroup, message } from '../../../test/fakes/raft-group.ts';
import type { RaftMessage } from '../types.ts';
import { holdsLease } from './lease.ts';

const led = (): RaftGroup => {
  const group = new RaftGroup({ a: {}, b: {}, c: {} });
  group.elect('a');
  group.pass(200, 'a');
  return group;
};
const holds = (group: RaftGroup, id = 'a'): boolean => holdsLease(group.core(id), group.now);

describe('the lease of a leader (thesis 6.4.1)', () => {
  it('is held while a quorum answers, and by nobody else', () => {
    const group = led();
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => holds(group, id)),
      [true, false, false],
    );
    group.pass(500, 'a', group.among('a', 'b'));
    assert.equal(holds(group), true);
  });

  it('is of no use before anybody has answered, and needs nobody where nobody else is', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a', ({ kind }) => kind === 'heartbeat' || kind === 'append');
    assert.equal(group.core('a').role, 'leader');
    assert.equal(holds(group), false);
    const alone = new RaftGroup({ a: {} });
    alone.tick('a');
    assert.equal(holds(alone), true);
  });

  it('is not held for the answer to a heartbeat of an earlier leadership', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    let late: RaftMessage | undefined;
    group.pass(200, 'a', (one) => {
      if (one.kind === 'heartbeat' && one.to === 'b' && one.round === 2) late = one;
      return false;
    });
    assert.ok(late);
    group.elect('c');
    // Its votes come, and then nothing more.
    group.elect('a', ({ kind }) => kind === 'heartbeat' || kind === 'append');
    group.pass(100, 'a', () => true);
    assert.ok(group.core('a').readRound >= 2);
    group.wire = [];
    group.receive(late);
    group.deliver();
    assert.equal(group.core('a').role, 'leader');
    assert.equal(holds(group), false);
  });

  it('is over before those who answered last may vote for another', () => {
    const group = led();
    group.tick('a');
    group.deliver();
    const lastHeard = group.core('b').lastLeaderContactMs;
    group.now = lastHeard + 260;
    assert.equal(holds(group), true);
    group.now = lastHeard + 275;
    assert.equal(holds(group), false);
    // b still refuses its vote, c's too.
    group.receive(message('pre-vote', { from: 'c', term: 2, lastIndex: 9, lastTerm: 1 }));
    const answer = group.wire.find(({ kind }) => kind === 'pre-vote-answer');
    assert.equal(answer?.kind === 'pre-vote-answer' && answer.granted, false);
  });

  it('is not made longer by answers that lay unread', () => {
    const group = led();
    // The answers come when it goes on.
    group.now = group.core('a').heartbeatDueMs;
    group.tick('a');
    const answers: typeof group.wire = [];
    group.deliver((one) => one.from !== 'a' && answers.push(one) > 0);
    assert.equal(answers.length, 2);
    group.now += 5000;
    for (const answer of answers) group.receive(answer);
    assert.equal(group.core('a').role, 'leader');
    assert.equal(holds(group), false);
    group.wire = [];
    group.tick('a');
    group.deliver();
    assert.equal(holds(group), true, 'a round of heartbeats later');
  });

  it('is not trusted any more in a term in which somebody was told to take over', () => {
    const group = led();
    group.step('a', { kind: 'transfer', to: 'b' });
    group.deliver(({ kind }) => kind === 'timeout-now');
    group.pass(1000, 'a', ({ kind }) => kind === 'timeout-now');
    assert.deepEqual([group.core('a').role, group.core('a').transfer], ['leader', undefined]);
    assert.equal(holds(group), false);
  });

  it('is honoured by a voter that was started again', () => {
    const group = led();
    group.tick('a');
    group.deliver();
    const { configurations } = group.core('b');
    group.start('b', configurations);
    group.wire = [];
    group.now += 100;
    assert.equal(holds(group), true);
    const ask = (): boolean => {
      group.wire = [];
      group.receive(message('vote', { from: 'c', term: 2, lastIndex: 9, lastTerm: 1 }));
      return group.wire.some((one) => one.kind === 'vote-answer' && one.granted);
    };
    assert.equal(ask(), false);
    group.now += 250;
    assert.equal(holds(group), false);
    assert.equal(ask(), true);
  });
});
