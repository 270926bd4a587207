import assert from 'node:assert/strict';
import { RaftGroup, member, message } from '../../../test/fakes/raft-group.ts';

const three = (config = {}) => new RaftGroup({ a: {}, b: {}, c: {} }, config);
const led = (config = {}) => {
  const group = three(config);
  group.elect('a');
  return group;
};

describe('raft terms (paper 5.1, figure 2: rules for all servers)', () => {
  const newer = { term: 9, from: 'b', to: 'a', accepted: false, granted: false } as const;
  const answers = [
    message('append-answer', newer),
    message('heartbeat-answer', newer),
    message('vote-answer', newer),
    message('pre-vote-answer', newer),
    message('append', { ...newer, prevIndex: 99 }),
    message('heartbeat', newer),
    message('vote', { ...newer, transfer: true }),
  ];
  for (const heard of answers) {
    it(`a leader follows as soon as it hears of a newer term by ${heard.kind}`, () => {
      const group = led();
      group.receive(heard);
      assert.equal(group.core('a').role, 'follower');
      assert.equal(group.core('a').term, 9);
      assert.equal(group.disk('a').term, 9, 'and that is on its disk');
    });
  }

  it('a newer term has no vote in it yet', () => {
    const group = led();
    assert.equal(group.disk('a').votedFor, 'a');
    group.receive(message('heartbeat', { term: 9, from: 'b', to: 'a' }));
    assert.deepEqual([group.disk('a').term, group.disk('a').votedFor], [9, '']);
  });

  it('a term never goes back, whatever is heard', () => {
    const group = led();
    group.receive(message('heartbeat', { term: 9, from: 'b', to: 'a' }));
    for (const kind of ['append', 'heartbeat', 'vote', 'pre-vote'] as const)
      group.receive(message(kind, { term: 3, from: 'c', to: 'a' }) as never);
    assert.equal(group.core('a').term, 9);
    assert.equal(group.core('a').leaderId, 'b');
  });

  it('a message of an older term is refused with the newer one', () => {
    const group = led();
    group.receive(message('heartbeat', { term: 9, from: 'b', to: 'a' }));
    group.wire = [];
    for (const kind of ['append', 'heartbeat', 'vote'] as const)
      group.receive(message(kind, { term: 3, from: 'c', to: 'a' }) as never);
    assert.deepEqual(
      group.wire.map(({ kind, term }) => [kind, term]),
      [
        ['append-answer', 9],
        ['heartbeat-answer', 9],
        ['vote-answer', 9],
      ],
    );
  });

  it('term, vote and log outlive a restart; role, commit index and what peers have do not (figure 2: state)', () => {
    const group = led();
    group.propose('a');
    group.deliver();
    const { term, log } = group.core('a');
    const { lastIndex } = log;
    group.start('a', [{ index: 0, servers: [member('a'), member('b'), member('c')] }]);
    const restarted = group.core('a');
    assert.deepEqual([restarted.term, restarted.votedFor, restarted.log.lastIndex], [term, 'a', lastIndex]);
    assert.deepEqual(
      [restarted.role, restarted.leaderId, restarted.commitIndex, restarted.peers.size],
      ['follower', '', 0, 0],
    );
  });
});

describe('raft candidates (paper 5.2, figure 2: rules for candidates)', () => {
  it('a candidate follows whoever leads in its own term', () => {
    const group = three({ preVote: false });
    group.elect('b', () => true);
    assert.equal(group.core('b').role, 'candidate');
    group.receive(message('heartbeat', { term: 1, from: 'c' }));
    assert.deepEqual([group.core('b').role, group.core('b').leaderId, group.core('b').term], ['follower', 'c', 1]);
  });

  it('a candidate does not follow a leader of an older term', () => {
    const group = three({ preVote: false });
    group.elect('b', () => true);
    group.elect('b', () => true);
    group.receive(message('append', { term: 1, from: 'c' }));
    assert.deepEqual([group.core('b').role, group.core('b').term], ['candidate', 2]);
  });

  it('a vote that is split ends with a new term, and that one can be won', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {}, d: {} }, { preVote: false });
    group.now += 1000;
    for (const id of ['a', 'b']) group.tick(id);
    const towards = (candidate: string, voter: string) => (sent: { from: string; to: string }) =>
      ![candidate, voter].includes(sent.from) || ![candidate, voter].includes(sent.to);
    const under = group.wire;
    group.wire = under.filter((sent) => !towards('a', 'c')(sent));
    group.deliver(towards('a', 'c'));
    group.wire = under.filter((sent) => !towards('b', 'd')(sent));
    group.deliver(towards('b', 'd'));
    assert.deepEqual([group.core('a').role, group.core('b').role], ['candidate', 'candidate'], 'two of four each');
    group.elect('a');
    assert.deepEqual([group.core('a').role, group.core('a').term], ['leader', 2]);
  });

  it('a candidate that lost does not count what comes late', () => {
    const group = three({ preVote: false });
    group.elect('a', () => true);
    group.receive(message('heartbeat', { term: 2, from: 'c', to: 'a' }));
    for (const from of ['b', 'c']) group.receive(message('vote-answer', { term: 1, from, to: 'a' }));
    assert.equal(group.core('a').role, 'follower');
  });

  it('a pre-vote changes nothing where it is asked: no term, no vote, no deadline (thesis 9.6)', () => {
    const group = three();
    const { electionDeadlineMs } = group.core('b');
    group.now += 500;
    group.receive(message('pre-vote', { term: 5, lastIndex: 9, lastTerm: 4 }));
    assert.equal(group.wire[0]?.kind === 'pre-vote-answer' && group.wire[0].granted, true);
    assert.deepEqual([group.core('b').term, group.core('b').votedFor], [0, '']);
    assert.deepEqual([group.disk('b').term, group.disk('b').votedFor], [0, '']);
    assert.equal(group.core('b').electionDeadlineMs, electionDeadlineMs);
  });

  it('a pre-vote is refused to a log that could not win', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 2] }, c: {} });
    group.receive(message('pre-vote', { term: 5, lastIndex: 9, lastTerm: 1 }));
    assert.equal(group.wire[0]?.kind === 'pre-vote-answer' && group.wire[0].granted, false);
  });
});

describe('raft leaders and followers (paper 5.2, 5.3, 5.5, 5.6)', () => {
  it('nobody campaigns as long as heartbeats come', () => {
    const group = led();
    for (let i = 0; i < 40; i++) {
      group.pass(50, 'a');
      for (const id of ['b', 'c']) group.tick(id);
      group.deliver();
    }
    assert.deepEqual([group.core('a').role, group.core('a').term], ['leader', 1]);
  });

  it('a leader neither replaces nor drops entries of its own log (leader append-only)', () => {
    const group = new RaftGroup({ a: { terms: [1, 1, 2] }, b: { terms: [1, 1] }, c: { terms: [1] } });
    group.elect('a');
    for (let i = 0; i < 5; i++) group.propose('a', i);
    group.pass(300, 'a', ({ from }) => from === 'b');
    assert.deepEqual(group.of('a', 'truncate'), []);
    assert.deepEqual(group.terms('a').slice(0, 3), [1, 1, 2]);
  });

  it('opens its term with an entry, so that what earlier leaders left gets committed (8)', () => {
    const group = new RaftGroup({ a: { terms: [1, 1] }, b: { terms: [1, 1] }, c: { terms: [1, 1] } });
    group.elect('a');
    assert.equal(group.of('a', 'append')[0]?.entries[0]?.kind, 'noop');
    assert.ok(group.core('a').commitIndex >= 3, 'both entries of term 1 are committed by that of term 2');
  });

  it('everything may arrive twice (5.5)', () => {
    const group = led();
    for (let round = 0; round < 5; round++) {
      group.propose('a', round);
      group.wire.push(...group.wire);
      for (let left = 200; group.wire.length > 0 && left > 0; left--) {
        const sent = group.wire.shift();
        if (sent === undefined) break;
        group.receive(sent);
        group.receive(sent);
        if (left < 150) group.wire.length = 0;
      }
    }
    group.wire = [];
    group.pass(400, 'a');
    assert.deepEqual(group.terms('b'), group.terms('a'));
    assert.equal(group.core('c').commitIndex, group.core('a').commitIndex);
    assert.deepEqual(group.of('b', 'truncate'), []);
  });

  it('commits when a majority has it, whatever the slowest does (5.3)', () => {
    const group = led();
    group.propose('a');
    group.deliver(group.among('a', 'b'));
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex);
    group.pass(60, 'a', group.among('a', 'b'));
    assert.equal(group.core('b').commitIndex, group.core('a').log.lastIndex);
  });

  it('brings up to date who was away for long, and nothing of what it had alone survives (figure 7 e, f)', () => {
    const group = led();
    for (let i = 0; i < 50; i++) group.propose('a', i);
    group.deliver(group.among('a', 'b'));
    group.pass(400, 'a');
    assert.deepEqual(group.terms('c'), group.terms('a'));
    assert.equal(group.core('c').commitIndex, group.core('a').commitIndex);
  });
});
