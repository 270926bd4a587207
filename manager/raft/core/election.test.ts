import assert from 'node:assert/strict';
import { RaftGroup, member, message } from '../../../test/fakes/raft-group.ts';
import { CORE_DEFAULTS } from './state.ts';

const three = (config = {}) => new RaftGroup({ a: {}, b: {}, c: {} }, config);

describe('raft elections (paper 5.2, 5.4.1; thesis 4.2.3, 9.6)', () => {
  it('elects a server that a majority votes for', () => {
    const group = three();
    group.elect('a', group.among('a', 'b'));
    assert.equal(group.core('a').role, 'leader');
    assert.equal(group.core('b').leaderId, 'a');
  });

  it('elects nobody without a majority', () => {
    const group = three({ preVote: false });
    group.elect('a', group.among('a'));
    assert.equal(group.core('a').role, 'candidate');
  });

  it('elects the only voter at its first tick', () => {
    const group = new RaftGroup({ a: {} });
    group.tick('a');
    assert.equal(group.core('a').role, 'leader');
    assert.equal(group.core('a').commitIndex, 2, 'the opening entry and the members');
  });

  it('lets one that has become the only voter wait after its start as long as another one may hold a lease', () => {
    const group = new RaftGroup({ a: { terms: [1, 1] }, b: { terms: [1, 1] } });
    group.start('b', [
      { index: 0, servers: [member('a'), member('b')] },
      { index: 2, servers: [member('b')] },
    ]);
    group.tick('b');
    assert.equal(group.core('b').role, 'follower', '"a" may not know yet that it is out');
    group.now += CORE_DEFAULTS.electionTimeoutMs - 1;
    group.tick('b');
    assert.equal(group.core('b').role, 'follower');
    group.now += CORE_DEFAULTS.electionTimeoutMs;
    group.tick('b');
    assert.equal(group.core('b').role, 'leader');
  });

  it('does not count the own vote before the disk has it', () => {
    const group = new RaftGroup({ a: {} });
    group.hold('a');
    group.tick('a');
    assert.equal(group.core('a').role, 'candidate');
    group.sync('a');
    assert.equal(group.core('a').role, 'leader');
  });

  it('asks for votes only when term and own vote are on disk', () => {
    const group = three({ preVote: false });
    group.hold('a');
    group.now += 1000;
    group.tick('a');
    assert.deepEqual(group.wire, []);
    group.sync('a');
    assert.deepEqual(
      group.wire.map(({ kind, to }) => [kind, to]),
      [
        ['vote', 'b'],
        ['vote', 'c'],
      ],
    );
  });

  it('answers with a vote only when the disk has it', () => {
    const group = three();
    group.hold('b');
    group.receive(message('vote', { term: 1 }));
    assert.equal(group.wire.length, 0);
    group.sync('b');
    assert.equal(group.disk('b').votedFor, 'a');
    assert.equal(group.wire[0]?.kind === 'vote-answer' && group.wire[0].granted, true);
  });

  it('gives one vote a term', () => {
    const group = three();
    group.receive(message('vote', { term: 1, from: 'a' }));
    group.receive(message('vote', { term: 1, from: 'c' }));
    assert.deepEqual(
      group.wire.map((answer) => answer.kind === 'vote-answer' && answer.granted),
      [true, false],
    );
  });

  it('gives the same vote again to the same candidate', () => {
    const group = three();
    group.receive(message('vote', { term: 1 }));
    group.receive(message('vote', { term: 1 }));
    assert.deepEqual(
      group.wire.map((answer) => answer.kind === 'vote-answer' && answer.granted),
      [true, true],
    );
  });

  it('remembers its vote over a restart', () => {
    const group = new RaftGroup({ a: {}, b: { term: 4, votedFor: 'c' }, c: {} });
    group.receive(message('vote', { term: 4, from: 'a' }));
    assert.equal(group.wire[0]?.kind === 'vote-answer' && group.wire[0].granted, false);
  });

  const logs: readonly [string, readonly number[], readonly [number, number], boolean][] = [
    ['the same log', [1, 1], [2, 1], true],
    ['a longer log of the same term', [1, 1], [3, 1], true],
    ['a shorter log of the same term', [1, 1], [1, 1], false],
    ['a shorter log with a newer last term', [1, 1], [1, 2], true],
    ['a longer log with an older last term', [1, 2], [9, 1], false],
    ['an empty log', [1], [0, 0], false],
  ];
  for (const [title, terms, [lastIndex, lastTerm], granted] of logs) {
    it(`${granted ? 'votes' : 'does not vote'} for a candidate with ${title} (5.4.1)`, () => {
      for (const kind of ['vote', 'pre-vote'] as const) {
        const group = new RaftGroup({ a: {}, b: { terms }, c: {} });
        group.receive(message(kind, { term: 9, lastIndex, lastTerm }));
        const [answer] = group.wire;
        assert.ok(answer?.kind === 'vote-answer' || answer?.kind === 'pre-vote-answer');
        assert.equal(answer.granted, granted, kind);
      }
    });
  }

  it('ignores votes of an older term', () => {
    const group = three({ preVote: false });
    group.elect('a', () => true);
    group.elect('a', () => true);
    group.receive(message('vote-answer', { term: 1, from: 'b', to: 'a' }));
    assert.equal(group.core('a').role, 'candidate');
  });

  it('counts a vote that comes twice once', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {}, d: {}, e: {} }, { preVote: false });
    group.elect('a', () => true);
    for (let i = 0; i < 2; i++) group.receive(message('vote-answer', { term: 1, from: 'b', to: 'a' }));
    assert.equal(group.core('a').role, 'candidate');
  });

  it('does not count a non-voter', () => {
    const servers = [member('a'), member('b'), member('c', false), member('d', false)];
    const group = new RaftGroup({ a: {}, b: {}, c: {}, d: {} }, { preVote: false }, servers);
    group.elect('a', () => true);
    for (const from of ['c', 'd']) group.receive(message('vote-answer', { term: 1, from, to: 'a' }));
    assert.equal(group.core('a').role, 'candidate');
  });

  it('never stands for election as a non-voter', () => {
    const group = new RaftGroup({ a: {}, b: {} }, {}, [member('a'), member('b', false)]);
    group.elect('b');
    assert.equal(group.core('b').role, 'follower');
    assert.equal(group.core('b').term, 0);
  });

  it('knows of no leader as a non-voter that hears none any more', () => {
    const group = new RaftGroup({ a: {}, b: {} }, {}, [member('a'), member('b', false)]);
    group.elect('a');
    assert.equal(group.core('b').leaderId, 'a');
    group.now += 601;
    group.tick('b');
    assert.equal(group.core('b').leaderId, '');
    assert.deepEqual(group.of('b', 'role').at(-1), { kind: 'role', role: 'follower', term: 1, leaderId: '' });
  });

  it('does not open a term before a majority would vote for it', () => {
    const group = three();
    group.elect('a', () => true);
    assert.equal(group.core('a').role, 'pre-candidate');
    assert.equal(group.core('a').term, 0);
  });

  it('helps nobody to a pre-election while a leader is heard', () => {
    const group = three();
    group.elect('a');
    group.receive(message('pre-vote', { from: 'c', term: 9, lastIndex: 9, lastTerm: 9 }));
    assert.equal(group.wire[0]?.kind === 'pre-vote-answer' && group.wire[0].granted, false);
  });

  it('is not deposed by a newer term while a leader is heard (4.2.3)', () => {
    const group = three();
    group.elect('a');
    for (const to of ['a', 'b']) group.receive(message('vote', { from: 'c', to, term: 9, lastIndex: 9, lastTerm: 9 }));
    assert.equal(group.core('a').role, 'leader');
    assert.equal(group.core('b').term, 1);
    assert.deepEqual(group.wire, []);
  });

  it('lets the old leader know of a newer term by its answers', () => {
    const group = three();
    group.elect('a', group.among('a', 'b'));
    group.core('c').term = 7;
    group.pass(60, 'a');
    assert.equal(group.core('a').role, 'follower');
    assert.equal(group.core('a').term, 7);
  });

  it('draws a deadline between one and two timeouts', () => {
    const { electionDeadlineMs } = three().core('a');
    assert.equal(electionDeadlineMs, 1000 + 300 * 1.5);
  });

  it('does not split the votes of two that ask at the same moment: the greater id goes first', () => {
    const group = three();
    group.now += 601;
    group.tick('b');
    group.tick('c');
    group.deliver(({ to }) => to === 'a');
    assert.deepEqual([group.core('c').role, group.core('b').leaderId, group.core('c').term], ['leader', 'c', 1]);
  });

  it('nor of two with different logs: the longer one goes first', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1] }, c: {} });
    group.now += 601;
    group.tick('c');
    group.tick('b');
    group.deliver(({ to }) => to === 'a');
    assert.deepEqual([group.core('b').role, group.core('c').leaderId, group.core('b').term], ['leader', 'b', 2]);
  });

  it('lets one that asked a while ago make room: it may not reach the others', () => {
    const group = three();
    group.now += 601;
    group.tick('c');
    group.deliver(() => true);
    group.now += 60;
    group.tick('b');
    group.deliver(group.among('a', 'b', 'c'));
    assert.equal(group.core('b').role, 'leader');
  });

  it('steps down when it has not heard a quorum for four election timeouts', () => {
    const group = three();
    group.elect('a');
    group.pass(1150, 'a', () => true);
    assert.equal(group.core('a').role, 'leader');
    group.pass(150, 'a', () => true);
    assert.equal(group.core('a').role, 'follower');
    assert.equal(group.core('a').leaderId, '');
    assert.deepEqual(
      group.of('a', 'peer').map(({ id, reachable }) => [id, reachable]),
      [
        ['b', false],
        ['c', false],
      ],
    );
  });

  it('stays the leader while one of two followers answers', () => {
    const group = three();
    group.elect('a');
    group.pass(1000, 'a', group.among('a', 'b'));
    assert.equal(group.core('a').role, 'leader');
  });
});
