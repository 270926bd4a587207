import assert from 'node:assert/strict';
import { RaftGroup, configurationEntry, member, message, snapshotMeta } from '../../../test/fakes/raft-group.ts';
import type { RaftMessage } from '../types.ts';
import { servers } from './state.ts';

const ids = (group: RaftGroup, at: string) =>
  servers(group.core(at))
    .map(({ id }) => id)
    .join('');
const remove = (group: RaftGroup, at: string, id: string) =>
  group
    .step(at, { kind: 'change-membership', change: { kind: 'remove', id } })
    .find(({ kind }) => kind === 'refused' || kind === 'accepted');
const add = (group: RaftGroup, at: string, id: string, voter = false) =>
  group
    .step(at, { kind: 'change-membership', change: { kind: 'add', server: member(id, voter) } })
    .find(({ kind }) => kind === 'refused' || kind === 'accepted');

describe('figure 8 of the Raft paper, step by step', () => {
  /** (c): a leads again, and entry 2 of term 2 is on a, b and c; e has one of term 3 in that place. */
  const c = (): RaftGroup => {
    const group = new RaftGroup({
      a: { terms: [1, 2], term: 3 },
      b: { terms: [1, 2], term: 3 },
      c: { terms: [1], term: 3 },
      d: { terms: [1], term: 3 },
      e: { terms: [1, 3], term: 3 },
    });
    // Its opening entry of term 4 reaches nobody: only the older one goes to c.
    group.elect('a', ({ kind, to, from }) => kind === 'append' || to === 'e' || from === 'e');
    const { log, term } = group.core('a');
    assert.equal(group.core('a').role, 'leader');
    const entries = log.slice(2, 2, 1, 1000);
    group.receive(message('append', { term, to: 'c', prevIndex: 1, prevTerm: 1, entries }));
    group.deliver(({ kind }) => kind === 'append');
    return group;
  };

  it('(c) the entry of term 2 is on a majority and is not committed', () => {
    const group = c();
    for (const from of ['b', 'c'])
      group.receive(message('append-answer', { term: group.core('a').term, from, to: 'a', index: 2 }));
    assert.equal(group.core('a').commitIndex, 0);
  });

  it('(d) it can be replaced by e, whose log is newer', () => {
    const group = c();
    // The first attempt only tells it what term the others have come to.
    for (let i = 0; i < 2; i++) group.elect('e', ({ from, to }) => from === 'a' || to === 'a');
    assert.equal(group.core('e').role, 'leader', 'b, c and d vote for the log with the newer term');
    group.pass(300, 'e', ({ from, to }) => from === 'a' || to === 'a');
    for (const id of ['b', 'c', 'd']) assert.deepEqual(group.terms(id).slice(0, 2), [1, 3]);
  });

  it('(e) it cannot any more once an entry of the new term is on a majority', () => {
    const group = c();
    group.pass(300, 'a', group.among('a', 'b', 'c'));
    assert.ok(group.core('a').commitIndex >= 3);
    for (let i = 0; i < 2; i++) group.elect('e', ({ from, to }) => from === 'a' || to === 'a');
    assert.notEqual(group.core('e').role, 'leader');
  });
});

describe('one server at a time (thesis 4.1; the correction of July 2015)', () => {
  it('two leaders cannot change members from the same beginning in ways that do not overlap', () => {
    // a leads in term 1 and adds e, which only a has. b leads in term 2 and would remove d with what it knows.
    const group = new RaftGroup({ a: {}, b: {}, c: {}, d: {} });
    group.elect('a');
    add(group, 'a', 'e');
    group.wire = [];
    assert.equal(ids(group, 'a'), 'abcde');
    group.elect('b', ({ from, to, kind }) => from === 'a' || to === 'a' || kind === 'append');
    assert.equal(group.core('b').role, 'leader');
    const early = remove(group, 'b', 'd');
    assert.ok(early?.kind === 'refused' && early.code === 'UNAVAILABLE', 'before it has committed in its own term');
    group.pass(100, 'b', ({ from, to }) => from === 'a' || to === 'a');
    assert.equal(remove(group, 'b', 'd')?.kind, 'accepted');
    group.deliver(({ from, to }) => from === 'a' || to === 'a');
    // b and c committed without d. The other change has lost: a and d are no majority, whatever they believe.
    group.elect('a', group.among('a', 'd', 'e'));
    assert.notEqual(group.core('a').role, 'leader');
    // The first tick tells b that so much time has passed that it cannot lead any more.
    for (let i = 0; i < 2; i++) group.elect('b');
    group.pass(400, 'b');
    assert.equal(ids(group, 'a'), 'abc', 'it takes over what was decided');
  });

  it('two changes of one leader do not overtake one another', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    assert.equal(add(group, 'a', 'd')?.kind, 'accepted');
    const second = remove(group, 'a', 'b');
    assert.ok(second?.kind === 'refused' && second.code === 'CONFLICT');
    group.deliver(group.among('a', 'b'));
    assert.equal(remove(group, 'a', 'b')?.kind, 'accepted', 'the first is committed');
  });

  it('a new configuration is in force at a follower as soon as it is in its log', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    const next = [member('a'), member('b')];
    group.receive(message('append', { term: 1, entries: [configurationEntry(1, 1, next)] }));
    assert.equal(ids(group, 'b'), 'ab');
    assert.equal(group.core('b').commitIndex, 0);
  });
});

describe('servers that join (thesis 4.2.1)', () => {
  it('a new server that never catches up holds up nobody', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    add(group, 'a', 'd');
    group.deliver(group.among('a', 'b', 'c'));
    for (let i = 0; i < 5; i++) group.propose('a', i);
    group.deliver(group.among('a', 'b'));
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex);
    const refused = group
      .step('a', { kind: 'change-membership', change: { kind: 'promote', id: 'd' } })
      .find(({ kind }) => kind === 'refused');
    assert.ok(refused?.kind === 'refused' && refused.code === 'UNAVAILABLE');
  });

  it('a new server with an empty log gets all of it, then its vote', () => {
    const group = new RaftGroup({ a: {}, b: {} });
    group.elect('a');
    for (let i = 0; i < 10; i++) group.propose('a', i);
    group.deliver();
    group.disks.set('d', { term: 0, votedFor: '', entries: [] });
    group.start('d', []);
    add(group, 'a', 'd');
    group.pass(200, 'a');
    assert.deepEqual(group.terms('d'), group.terms('a'));
    assert.equal(
      group
        .step('a', { kind: 'change-membership', change: { kind: 'promote', id: 'd' } })
        .some(({ kind }) => kind === 'accepted'),
      true,
    );
    group.deliver(group.among('a', 'd'));
    assert.equal(group.core('a').commitIndex, group.core('a').log.lastIndex, 'its disk counts now: two of three');
  });
});

describe('servers that disturb (thesis 4.2.3, 6.2, 9.6)', () => {
  const led = (config = {}) => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} }, config);
    group.elect('a');
    return group;
  };
  /** Time passes, until c stands for election again, in which a and b have heard one another all along. */
  const later = (group: RaftGroup): void => {
    group.now = Math.max(group.now + 700, group.core('c').electionDeadlineMs);
    group.core('b').lastLeaderContactMs = group.now;
    for (const peer of group.core('a').peers.values()) peer.lastContactMs = group.now;
  };

  it('one that was removed and does not know raises nobody’s term', () => {
    const group = led();
    remove(group, 'a', 'c');
    group.deliver(group.among('a', 'b'));
    for (let i = 0; i < 5; i++) {
      later(group);
      group.tick('c');
      group.deliver();
    }
    assert.deepEqual([group.core('a').role, group.core('a').term, group.core('b').term], ['leader', 1, 1]);
    assert.equal(group.core('c').term, 1);
  });

  it('nor without asking before: who hears a leader, or leads, does not answer', () => {
    const group = led({ preVote: false });
    remove(group, 'a', 'c');
    group.deliver(group.among('a', 'b'));
    for (let i = 0; i < 5; i++) {
      later(group);
      group.tick('c');
      group.deliver();
    }
    assert.equal(group.core('c').term, 6, 'it campaigned each time');
    assert.deepEqual([group.core('a').role, group.core('a').term, group.core('b').term], ['leader', 1, 1]);
  });

  it('one that was cut off comes back without a new term', () => {
    const group = led();
    for (let i = 0; i < 5; i++) {
      later(group);
      group.tick('c');
      group.wire = [];
    }
    assert.equal(group.core('c').term, 1, 'it only asked');
    group.pass(200, 'a');
    assert.deepEqual([group.core('a').role, group.core('a').term, group.core('c').leaderId], ['leader', 1, 'a']);
  });

  it('a leader that is heard but hears nobody makes room (check-quorum)', () => {
    const group = led();
    const deaf = ({ to }: { to: string }): boolean => to === 'a';
    group.pass(1300, 'a', deaf);
    assert.equal(group.core('a').role, 'follower');
    group.elect('b', deaf);
    assert.equal(group.core('b').role, 'leader');
  });
});

describe('reads of a leader that was paused (thesis 6.4, 6.4.1)', () => {
  it('are not answered from its lease: others may have elected a leader meanwhile', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    group.elect('b', group.among('b', 'c'));
    assert.equal(group.core('b').role, 'leader');
    assert.equal(group.core('a').role, 'leader', 'it was paused all the time');
    group.step('a', { kind: 'read', id: 7 });
    assert.deepEqual(group.of('a', 'read-ready'), []);
    group.deliver();
    assert.deepEqual(group.of('a', 'read-ready'), []);
    assert.deepEqual(group.of('a', 'reads-lost'), [{ kind: 'reads-lost', ids: [7] }]);
  });

  it('are not confirmed by the answer to a heartbeat of an earlier leadership', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    // One of its later heartbeats is under way for long.
    let late: RaftMessage | undefined;
    group.pass(500, 'a', (one) => {
      if (one.kind === 'heartbeat' && one.to === 'b') late = one;
      return false;
    });
    assert.ok(late?.kind === 'heartbeat' && late.round > 3);
    group.elect('c');
    group.elect('a');
    assert.equal(group.core('a').role, 'leader');
    group.wire = [];
    group.receive(late);
    const [answer] = group.wire;
    assert.ok(answer?.kind === 'heartbeat-answer');
    assert.deepEqual([answer.to, answer.term], ['a', group.core('a').term], 'it is of the term in which it leads now');
    group.receive(answer);
    group.elect('c', group.among('b', 'c'));
    assert.deepEqual([group.core('c').role, group.core('a').role], ['leader', 'leader'], 'it was cut off');
    group.step('a', { kind: 'read', id: 7 });
    assert.deepEqual(group.of('a', 'read-ready'), []);
  });
});

describe('snapshots between servers (thesis, chapter 5)', () => {
  const meta = snapshotMeta(5, 2, [member('a'), member('b'), member('x')]);
  const chunk = (data: number[], done: boolean) =>
    ({
      ...message('install-snapshot', { term: 3 }),
      snapshot: meta,
      offset: 0,
      data: Uint8Array.from(data),
      done,
    }) as const;

  it('bring the members along', () => {
    const group = new RaftGroup({ a: {}, b: {} });
    group.receive(chunk([1], true));
    group.step('b', { kind: 'snapshot-installed' });
    assert.equal(ids(group, 'b'), 'abx');
  });

  it('hold nobody up: while one peer gets a snapshot the others get entries', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    for (let i = 0; i < 5; i++) group.propose('a', i);
    group.deliver(group.among('a', 'b'));
    const { lastIndex } = group.core('a').log;
    const snapshot = snapshotMeta(lastIndex, 1, [member('a'), member('b'), member('c')]);
    group.step('a', { kind: 'snapshot-taken', snapshot, compactTo: lastIndex });
    group.pass(250, 'a');
    assert.equal(group.core('a').peers.get('c')?.mode, 'snapshot');
    group.propose('a');
    group.deliver();
    assert.equal(group.core('a').commitIndex, lastIndex + 1);
    assert.equal(group.core('b').log.lastIndex, lastIndex + 1);
  });

  it('begin again with the newest when the one that was being sent is gone', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a');
    for (let i = 0; i < 5; i++) group.propose('a', i);
    group.deliver(group.among('a', 'b'));
    const { lastIndex } = group.core('a').log;
    const of = (index: number) => snapshotMeta(index, 1, [member('a'), member('b'), member('c')]);
    group.step('a', { kind: 'snapshot-taken', snapshot: of(lastIndex - 1), compactTo: lastIndex - 1 });
    group.pass(250, 'a');
    assert.equal(group.of('a', 'send-chunk').at(-1)?.snapshot.index, lastIndex - 1);
    group.step('a', { kind: 'snapshot-taken', snapshot: of(lastIndex), compactTo: lastIndex });
    group.step('a', { kind: 'snapshot-unavailable', to: 'c' });
    group.pass(100, 'a');
    assert.equal(group.of('a', 'send-chunk').at(-1)?.snapshot.index, lastIndex);
  });

  it('of an older leader are refused', () => {
    const group = new RaftGroup({ a: {}, b: { term: 9 } });
    group.receive(chunk([1], true));
    assert.deepEqual(group.of('b', 'keep-chunk'), []);
    assert.equal(group.wire[0]?.term, 9);
  });
});
