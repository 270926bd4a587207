import assert from 'node:assert/strict';
import { RaftGroup, member, message, snapshotMeta } from '../../../test/fakes/raft-group.ts';
import { RaftLog } from './log.ts';
import { forceNewCluster } from './recovery.ts';
import { decodeConfiguration } from './configuration.ts';

const led = () => {
  const group = new RaftGroup({ a: {}, b: {}, c: {} });
  group.elect('a');
  return group;
};

describe('raft linearizable reads (thesis 6.4)', () => {
  it('confirms leadership by a quorum after the read came', () => {
    const group = led();
    group.step('a', { kind: 'read', id: 1 });
    assert.deepEqual(group.of('a', 'read-ready'), []);
    group.deliver(group.among('a', 'b'));
    assert.deepEqual(group.of('a', 'read-ready'), [
      { kind: 'read-ready', ids: [1], index: group.core('a').commitIndex },
    ]);
  });

  it('does not take answers to older heartbeats for it', () => {
    const group = led();
    group.pass(60, 'a');
    group.step('a', { kind: 'read', id: 1 });
    group.wire = [];
    group.receive(message('heartbeat-answer', { from: 'b', to: 'a', round: 0 }));
    assert.deepEqual(group.of('a', 'read-ready'), []);
  });

  it('lets reads that come together share a round', () => {
    const group = led();
    for (let id = 1; id <= 5; id++) group.step('a', { kind: 'read', id });
    group.deliver();
    assert.deepEqual(
      group.of('a', 'read-ready').map(({ ids }) => ids),
      [[1], [2, 3, 4, 5]],
    );
  });

  it('waits until it has committed in its own term: only then it knows the commit index', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a', ({ kind }) => kind === 'append');
    group.step('a', { kind: 'read', id: 1 });
    group.pass(40, 'a', ({ kind }) => kind === 'append');
    assert.deepEqual(group.of('a', 'read-ready'), []);
    group.pass(200, 'a');
    assert.equal(group.of('a', 'read-ready').length, 1);
  });

  it('answers at once when it is alone', () => {
    const group = new RaftGroup({ a: {} });
    group.tick('a');
    assert.ok(group.step('a', { kind: 'read', id: 1 }).some(({ kind }) => kind === 'read-ready'));
  });

  it('answers when those who have not confirmed leave', () => {
    const group = new RaftGroup({ a: {}, b: {} }, {}, [member('a'), member('b')]);
    group.elect('a');
    group.step('a', { kind: 'read', id: 1 });
    group.wire = [];
    group.step('a', { kind: 'change-membership', change: { kind: 'remove', id: 'b' } });
    assert.equal(group.of('a', 'read-ready').length, 1);
  });

  it('gives them up with the leadership', () => {
    const group = led();
    group.step('a', { kind: 'read', id: 1 });
    group.receive(message('append', { term: 9, from: 'b', to: 'a' }));
    assert.deepEqual(group.of('a', 'reads-lost'), [{ kind: 'reads-lost', ids: [1] }]);
  });

  it('refuses them where it does not lead', () => {
    assert.deepEqual(led().step('b', { kind: 'read', id: 4 }), [{ kind: 'reads-lost', ids: [4] }]);
  });
});

describe('raft leadership transfer (thesis 3.10)', () => {
  it('lets the target campaign once it has everything, though the leader is fresh', () => {
    const group = led();
    group.step('a', { kind: 'transfer', to: 'b' });
    group.deliver();
    assert.equal(group.core('b').role, 'leader');
    assert.deepEqual(group.of('a', 'transfer-ended'), [{ kind: 'transfer-ended', ok: true }]);
  });

  it('brings it up to date first', () => {
    const group = led();
    group.propose('a');
    group.wire = [];
    group.step('a', { kind: 'transfer', to: 'b' });
    assert.ok(!group.wire.some(({ kind }) => kind === 'timeout-now'));
    group.pass(280, 'a');
    assert.equal(group.core('b').role, 'leader');
    assert.equal(group.terms('b').length, 4);
  });

  it('takes no proposals and no changes meanwhile', () => {
    const group = led();
    group.step('a', { kind: 'transfer', to: 'b' });
    for (const effects of [
      group.propose('a'),
      group.step('a', { kind: 'change-membership', change: { kind: 'remove', id: 'c' } }),
    ]) {
      const [refused] = effects;
      assert.equal(refused?.kind === 'refused' && refused.code, 'UNAVAILABLE');
    }
  });

  it('gives up after an election timeout and goes on', () => {
    const group = led();
    group.step('a', { kind: 'transfer', to: 'b' });
    group.pass(320, 'a', ({ to, kind }) => to === 'b' && kind === 'timeout-now');
    assert.deepEqual(group.of('a', 'transfer-ended'), [{ kind: 'transfer-ended', ok: false }]);
    assert.ok(group.propose('a').some(({ kind }) => kind === 'accepted'));
  });

  it('picks the one that is furthest when none is named', () => {
    const group = led();
    group.propose('a');
    group.deliver(group.among('a', 'c'));
    group.step('a', { kind: 'transfer', to: undefined });
    assert.equal(group.core('a').transfer?.to, 'c');
  });

  it('refuses strangers, non-voters and itself', () => {
    for (const to of ['x', 'a']) {
      assert.equal(led().step('a', { kind: 'transfer', to })[0]?.kind, 'refused');
    }
  });

  it('obeys only the leader of its own term', () => {
    const group = led();
    group.receive(message('timeout-now', { term: 0 }));
    assert.equal(group.core('b').role, 'follower');
  });
});

describe('raft snapshots (paper 7, figure 13)', () => {
  const meta = snapshotMeta(5, 2, [member('a'), member('b')]);
  const chunk = (offset: number, data: number[], done: boolean) =>
    ({
      ...message('install-snapshot', { term: 3 }),
      snapshot: meta,
      offset,
      data: Uint8Array.from(data),
      done,
    }) as const;
  const answers = (group: RaftGroup) =>
    group.wire.flatMap((sent) => (sent.kind === 'install-snapshot-answer' ? [[sent.offset, sent.done]] : []));

  it('takes chunks in order and installs after the last', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1] } });
    group.receive(chunk(0, [1, 2], false));
    const effects = group.receive(chunk(2, [3], true));
    assert.deepEqual(answers(group), [[2, false]]);
    const install = effects.find(({ kind }) => kind === 'install-snapshot');
    assert.ok(install?.kind === 'install-snapshot' && install.resetLog);
    group.step('b', { kind: 'snapshot-installed' });
    assert.equal(group.core('b').log.firstIndex, 6);
    assert.equal(group.core('b').commitIndex, 5);
    assert.deepEqual(answers(group).at(-1), [0, true]);
  });

  it('says which byte it wants when a chunk was lost or came twice', () => {
    const group = new RaftGroup({ a: {}, b: {} });
    group.receive(chunk(0, [1, 2], false));
    group.receive(chunk(4, [5], false));
    group.receive(chunk(0, [1, 2], false));
    assert.deepEqual(answers(group), [
      [2, false],
      [2, false],
      [2, false],
    ]);
  });

  it('begins again when another server sends it: its bytes may differ', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.receive(chunk(0, [1, 2], false));
    group.receive({ ...chunk(2, [3], true), term: 4, from: 'c', fromAddress: 'c:7946' });
    assert.deepEqual(answers(group).at(-1), [0, false]);
  });

  it('keeps the entries behind a snapshot that its log agrees with', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1, 2, 2, 3] } });
    const effects = group.receive(chunk(0, [1], true));
    const install = effects.find(({ kind }) => kind === 'install-snapshot');
    assert.ok(install?.kind === 'install-snapshot' && !install.resetLog);
    group.step('b', { kind: 'snapshot-installed' });
    assert.equal(group.core('b').log.lastIndex, 6);
    assert.equal(group.core('b').log.firstIndex, 6);
  });

  it('drops a log that contradicts the snapshot, however long', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1, 1, 1, 1, 1] } });
    const install = group.receive(chunk(0, [1], true)).find(({ kind }) => kind === 'install-snapshot');
    assert.ok(install?.kind === 'install-snapshot' && install.resetLog);
    group.step('b', { kind: 'snapshot-installed' });
    assert.deepEqual([group.core('b').log.firstIndex, group.core('b').log.lastIndex], [6, 5]);
  });

  it('does nothing for a snapshot of what it has committed', () => {
    const group = new RaftGroup({ a: {}, b: { terms: [1, 1, 1, 2, 2, 3] } });
    group.core('b').commitIndex = 6;
    assert.ok(!group.receive(chunk(0, [1], true)).some(({ kind }) => kind === 'install-snapshot'));
    assert.deepEqual(answers(group), [[0, true]]);
  });

  it('neither takes entries nor stands for election while it installs', () => {
    const group = new RaftGroup({ a: {}, b: {} });
    group.receive(chunk(0, [1], true));
    group.receive(
      message('append', { term: 3, entries: [{ index: 1, term: 1, kind: 'noop', payload: new Uint8Array() }] }),
    );
    assert.equal(group.core('b').log.lastIndex, 0);
    group.elect('b');
    assert.equal(group.core('b').role, 'follower');
  });

  it('sends one to a peer that needs entries which are gone', () => {
    const group = led();
    for (let i = 0; i < 5; i++) group.propose('a');
    group.deliver(group.among('a', 'b'));
    const { lastIndex } = group.core('a').log;
    const snapshot = snapshotMeta(lastIndex, 1, [member('a'), member('b'), member('c')]);
    group.step('a', { kind: 'snapshot-taken', snapshot, compactTo: lastIndex });
    group.pass(200, 'a');
    const [first] = group.of('a', 'send-chunk');
    assert.deepEqual(first && [first.to.id, first.offset, first.snapshot.index], ['c', 0, lastIndex]);
    group.receive({
      ...message('install-snapshot-answer', { from: 'c', to: 'a' }),
      snapshotIndex: lastIndex,
      offset: 10,
      done: false,
    });
    assert.equal(group.of('a', 'send-chunk').at(-1)?.offset, 10);
    group.receive({
      ...message('install-snapshot-answer', { from: 'c', to: 'a' }),
      snapshotIndex: lastIndex,
      offset: 0,
      done: true,
    });
    assert.equal(group.core('a').peers.get('c')?.match, lastIndex);
  });
});

describe('raft recovery from a lost quorum', () => {
  it('keeps the whole log and goes on with one member', () => {
    const { hardState, entry } = forceNewCluster(member('a'), { term: 7, lastIndex: 12 });
    assert.deepEqual(hardState, { term: 8, votedFor: '' });
    assert.deepEqual([entry.index, entry.term, entry.kind], [13, 8, 'configuration']);
    assert.deepEqual(decodeConfiguration(entry.payload), [member('a')]);
  });
});

describe('the raft log', () => {
  const entries = (terms: readonly number[], from = 1) =>
    terms.map((term, i) => ({ index: from + i, term, kind: 'command' as const, payload: new Uint8Array(10) }));
  const make = (terms: readonly number[], cacheBytes = 1e6) => {
    const all = entries(terms);
    const log = new RaftLog({ index: 0, term: 0 }, [], 0, { read: (from, to) => all.slice(from - 1, to) }, cacheBytes);
    log.append(all);
    return log;
  };

  it('knows the term of every entry', () => {
    const log = make([1, 1, 3, 3, 4]);
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 6].map((i) => log.termAt(i)),
      [0, 1, 1, 3, 3, 4, undefined],
    );
  });

  it('still knows after truncating, compacting and resetting', () => {
    const log = make([1, 1, 3, 3, 4]);
    log.truncateFrom(4);
    assert.deepEqual([log.lastIndex, log.lastTerm], [3, 3]);
    log.append(entries([5], 4));
    log.compact(2);
    assert.deepEqual(
      [log.firstIndex, log.termAt(1), log.termAt(2), log.termAt(3), log.termAt(4)],
      [3, undefined, 1, 3, 5],
    );
    log.reset(9, 6);
    assert.deepEqual([log.firstIndex, log.lastIndex, log.lastTerm], [10, 9, 6]);
  });

  it('lets go of entries that are on disk, and reads them from there', () => {
    const log = make([1, 1, 1, 2, 2], 20);
    log.evict(4);
    assert.deepEqual(
      log.slice(1, 5, 10, 1e6).map(({ index }) => index),
      [1, 2, 3, 4, 5],
    );
  });

  it('cuts slices by number and bytes, and gives at least one', () => {
    const log = make([1, 1, 1, 1]);
    assert.deepEqual(
      [log.slice(1, 4, 2, 1e6), log.slice(1, 4, 9, 25), log.slice(2, 4, 9, 1)].map(({ length }) => length),
      [2, 2, 1],
    );
  });

  it('refuses a gap', () => {
    assert.throws(() => make([1]).append(entries([1], 5)), /after 1/);
  });
});
