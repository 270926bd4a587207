import assert from 'node:assert/strict';
import { RaftGroup, message } from '../../../test/fakes/raft-group.ts';
import type { Entry } from '../types.ts';

const three = (config = {}) => new RaftGroup({ a: {}, b: {}, c: {} }, config);
const led = (config = {}) => {
  const group = three(config);
  group.elect('a');
  return group;
};
const entry = (index: number, term: number): Entry => ({ index, term, kind: 'command', payload: new Uint8Array([7]) });

describe('raft log replication (paper 5.3)', () => {
  /** Figure 7: what followers may look like when the leader of term 8 comes to power. */
  const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const figure7: Readonly<Record<string, readonly number[]>> = {
    'a: lacks one': [1, 1, 1, 4, 4, 5, 5, 6, 6],
    'b: lacks many': [1, 1, 1, 4],
    'c: has one more': [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    'd: has two more of a newer term': [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    'e: has others in the middle': [1, 1, 1, 4, 4, 4, 4],
    'f: has only others since long': [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  };
  for (const [title, terms] of Object.entries(figure7)) {
    it(`brings the follower of figure 7 ${title} to the leader's log`, () => {
      // The third member gives the leader its majority.
      const group = new RaftGroup({ a: { terms: LEADER, term: 7 }, b: { terms, term: 7 }, c: { terms: [1], term: 7 } });
      group.elect('a');
      assert.equal(group.core('a').role, 'leader');
      group.pass(200, 'a');
      assert.deepEqual(group.terms('b'), [...LEADER, 8, 8]);
      assert.deepEqual(
        group.disk('b').entries.map(({ term }) => term),
        [...LEADER, 8, 8],
      );
    });
  }

  it('finds the place in one round for each term, not for each entry', () => {
    const terms = [1, ...Array.from({ length: 100 }, () => 2)];
    const leader = [1, ...Array.from({ length: 100 }, () => 3)];
    const group = new RaftGroup({ a: { terms: leader }, b: { terms, term: 3 }, c: { terms: leader } });
    group.elect('a');
    const probes = group
      .of('a', 'send')
      .filter(({ message: sent }) => sent.kind === 'append' && sent.to === 'b' && sent.prevIndex <= 101);
    assert.ok(probes.length <= 4, `${probes.length} messages`);
    assert.deepEqual(group.terms('b'), group.terms('a'));
  });

  it('refuses entries whose predecessor it lacks', () => {
    const group = three();
    group.receive(message('append', { prevIndex: 5, prevTerm: 1, entries: [entry(6, 1)] }));
    const [answer] = group.wire;
    assert.ok(answer?.kind === 'append-answer');
    assert.equal(answer.accepted, false);
    assert.equal(group.core('b').log.lastIndex, 0);
  });

  it('refuses a predecessor of another term', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1] }, c: {} });
    group.receive(message('append', { term: 3, prevIndex: 2, prevTerm: 2, entries: [entry(3, 3)] }));
    assert.equal(group.wire[0]?.kind === 'append-answer' && group.wire[0].accepted, false);
    assert.deepEqual(group.terms('b'), [1, 1]);
  });

  it('refuses an older leader, and tells it the newer term', () => {
    const group = new RaftGroup({ a: {}, b: { term: 5 }, c: {} });
    group.receive(message('append', { term: 4, entries: [entry(1, 4)] }));
    assert.equal(group.wire[0]?.term, 5);
    assert.equal(group.core('b').log.lastIndex, 0);
    assert.equal(group.core('b').leaderId, '');
  });

  it('drops only what contradicts: an old message takes nothing back', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1] }, c: {} });
    group.receive(message('append', { prevIndex: 0, entries: [entry(1, 1)] }));
    assert.deepEqual(group.terms('b'), [1, 1, 1]);
  });

  it('replaces what contradicts', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1] }, c: {} });
    group.receive(message('append', { term: 2, prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] }));
    assert.deepEqual(group.terms('b'), [1, 2]);
  });

  it('acknowledges no more than the message proved', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1] }, c: {} });
    group.receive(message('append', { prevIndex: 0, entries: [entry(1, 1)] }));
    assert.equal(group.wire[0]?.kind === 'append-answer' && group.wire[0].index, 1);
  });

  it('commits no more than the message proved', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1] }, c: {} });
    group.receive(message('append', { term: 2, prevIndex: 1, prevTerm: 1, entries: [], commitIndex: 3 }));
    assert.equal(group.core('b').commitIndex, 1);
  });

  it('acknowledges only what its disk has', () => {
    const group = three();
    group.hold('b');
    group.receive(message('append', { entries: [entry(1, 1)] }));
    assert.equal(group.wire.length, 0);
    group.sync('b');
    assert.equal(group.wire[0]?.kind === 'append-answer' && group.wire[0].index, 1);
  });

  it('answers heartbeats whatever its disk does', () => {
    const group = three();
    group.hold('b');
    group.receive(message('append', { entries: [entry(1, 1)] }));
    group.receive(message('heartbeat', {}));
    assert.deepEqual(
      group.wire.map(({ kind }) => kind),
      ['heartbeat-answer'],
    );
  });

  it('sends while its own disk works, and does not count itself meanwhile', () => {
    const group = led();
    const before = group.core('a').commitIndex;
    group.hold('a');
    group.propose('a');
    assert.ok(group.wire.some(({ kind, to }) => kind === 'append' && to === 'b'));
    group.deliver(group.among('a', 'b'));
    assert.equal(group.core('a').commitIndex, before);
    group.sync('a');
    assert.equal(group.core('a').commitIndex, before + 1);
  });

  it('commits without its own disk when a majority of the others has it', () => {
    const group = led();
    group.hold('a');
    group.propose('a');
    group.deliver();
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex);
  });

  it('does not take the sync of an entry for that of the one that took its place', () => {
    const group = three();
    group.hold('b');
    group.receive(message('append', { term: 1, entries: [entry(1, 1), entry(2, 1)] }));
    const first = group.of('b', 'append')[0]?.sequence ?? 0;
    group.receive(message('append', { term: 2, prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] }));
    group.step('b', { kind: 'persisted', sequence: first });
    assert.equal(group.core('b').persistedIndex, 1);
  });

  it('commits nothing of an earlier term by counting (5.4.2, figure 8)', () => {
    // S1 of figure 8 (c): leader of term 4, with an entry of term 2 that reaches a majority.
    const group = new RaftGroup({
      a: { terms: [1, 2], term: 3 },
      b: { terms: [1], term: 3 },
      c: { terms: [1], term: 3 },
    });
    group.elect('a', ({ kind }) => kind === 'append');
    const core = group.core('a');
    assert.equal(core.role, 'leader');
    assert.equal(core.persistedIndex, 4);
    group.receive(message('append-answer', { term: core.term, from: 'c', to: 'a', index: 2 }));
    assert.equal(core.commitIndex, 0, 'entry 2 is on two of three disks, and may still be replaced by S5');
    group.receive(message('append-answer', { term: core.term, from: 'c', to: 'a', index: 3 }));
    assert.equal(core.commitIndex, 3, 'with the entry of its own term all before it is committed');
  });

  it('ignores acknowledgements that were meant for an earlier leadership', () => {
    const group = led();
    group.propose('a');
    group.wire = [];
    const { commitIndex } = group.core('a');
    group.receive(message('append-answer', { term: 0, from: 'b', to: 'a', index: group.core('a').log.lastIndex }));
    assert.equal(group.core('a').commitIndex, commitIndex);
  });

  it('sends ahead without waiting for answers, as far as the window allows', () => {
    const group = led({ maxInflightMessages: 3, maxAppendEntries: 1, maxPartialMessages: 64 });
    for (let i = 0; i < 10; i++) group.propose('a', i);
    const under = group.wire.filter((sent) => sent.kind === 'append' && sent.to === 'b' && sent.entries.length > 0);
    assert.equal(under.length, 3);
    group.deliver();
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex);
    assert.deepEqual(group.terms('b'), group.terms('a'));
  });

  it('gathers what does not fill a message behind two that are under way, and sends it with the next answer', () => {
    const group = led({ maxAppendEntries: 4 });
    const sizes = (): number[] =>
      group.wire.flatMap((sent) => (sent.kind === 'append' && sent.to === 'b' ? [sent.entries.length] : []));
    for (let i = 0; i < 5; i++) group.propose('a', i);
    assert.deepEqual(sizes(), [1, 1]);
    group.propose('a', 5);
    assert.deepEqual(sizes(), [1, 1, 4], 'a full one goes ahead');
    group.propose('a', 6);
    assert.deepEqual(sizes(), [1, 1, 4]);
    group.deliver();
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex);
    assert.deepEqual(group.terms('b'), group.terms('a'));
  });

  it('keeps to the byte limits, but sends an entry that is larger alone', () => {
    const group = led({ maxAppendBytes: 2 });
    group.hold('a');
    const core = group.core('a');
    const { peers } = core;
    for (const peer of peers.values()) peer.inflightBytes = Infinity;
    for (let i = 0; i < 5; i++) group.propose('a', i);
    for (const peer of peers.values()) peer.inflightBytes = 0;
    group.step('a', { kind: 'propose', payload: new Uint8Array(100) });
    const sizes = group.wire.flatMap((sent) =>
      sent.kind === 'append' && sent.to === 'b' ? [sent.entries.map(({ payload }) => payload.length)] : [],
    );
    assert.deepEqual(sizes, [[1, 1], [1, 1], [1], [100]]);
  });

  it('sends again what was lost', () => {
    const group = led();
    group.propose('a');
    group.deliver(() => true);
    group.pass(400, 'a');
    assert.deepEqual(group.terms('b'), group.terms('a'));
    assert.equal(group.core('b').commitIndex, group.core('a').commitIndex);
  });

  it('copes with messages that overtake each other', () => {
    const group = led({ maxAppendEntries: 1 });
    for (let i = 0; i < 4; i++) group.propose('a', i);
    group.wire.reverse();
    group.deliver();
    group.pass(200, 'a');
    assert.deepEqual(group.terms('b'), group.terms('a'));
  });

  it('tells followers of a commit with the next heartbeat or entry, and sends nothing for that alone', () => {
    const group = led();
    group.pass(group.core('a').config.heartbeatMs, 'a');
    const before = group.core('b').commitIndex;
    group.propose('a');
    // An entry and its answer, to and from each of two followers.
    let messages = 0;
    group.deliver(() => ++messages < 0);
    assert.equal(messages, 4);
    assert.ok(group.core('a').commitIndex > before);
    assert.equal(group.core('b').commitIndex, before);
    group.propose('a');
    group.deliver();
    assert.equal(group.core('b').commitIndex, before + 1);
    group.pass(group.core('a').config.heartbeatMs, 'a');
    assert.equal(group.core('b').commitIndex, group.core('a').log.lastIndex);
  });

  it('tells a follower by heartbeat of no commit that it has not proved to have', () => {
    const group = led();
    const { match = 0 } = group.core('a').peers.get('c') ?? {};
    group.propose('a');
    group.deliver(group.among('a', 'b'));
    assert.ok(group.core('a').commitIndex > match);
    group.now += 60;
    group.tick('a');
    const told = group.wire.flatMap((sent) => (sent.kind === 'heartbeat' ? [[sent.to, sent.commitIndex]] : []));
    assert.deepEqual(told, [
      ['b', group.core('a').commitIndex],
      ['c', match],
    ]);
  });

  it('takes no more proposals than may wait to be committed', () => {
    const group = led({ maxUncommittedBytes: 2 });
    group.hold('a');
    for (let i = 0; i < 2; i++) group.propose('a');
    group.wire = [];
    assert.ok(group.propose('a').some(({ kind }) => kind === 'refused'));
    group.sync('a');
    group.pass(300, 'a');
    assert.ok(group.propose('a').some(({ kind }) => kind === 'accepted'));
  });

  it('refuses proposals where it does not lead', () => {
    const [effect] = led().propose('b');
    assert.ok(effect?.kind === 'refused');
    assert.equal(effect.code, 'NOT_LEADER');
  });

  it('never replaces what is committed: that is a broken invariant', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1] }, c: {} });
    group.core('b').commitIndex = 2;
    group.receive(message('append', { term: 2, prevIndex: 0, entries: [entry(1, 1), entry(2, 2)] }));
    assert.deepEqual(group.terms('b'), [1, 1], 'what is committed is not even compared');
  });

  it('crashes rather than obey two leaders of one term', () => {
    const group = led();
    assert.throws(() => group.receive(message('append', { term: 1, from: 'b', to: 'a' })), /two leaders/);
  });
});
