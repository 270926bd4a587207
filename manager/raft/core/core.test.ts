import assert from 'node:assert/strict';
import { initialState, step } from './core.ts';
import type { RaftState } from './core.ts';

const fresh = initialState('a', { term: 3, votedFor: '', lastIndex: 7, appliedIndex: 5 });
const elect = (state: RaftState): RaftState => {
  const voted = step(state, { kind: 'election-timeout' }).state;
  return step(voted, { kind: 'vote-persisted', term: voted.term }).state;
};

describe('raft step with one voter', () => {
  it('asks for the disk before it counts its own vote', () => {
    const { state, effects } = step(fresh, { kind: 'election-timeout' });
    assert.equal(state.role, 'candidate');
    assert.deepEqual(effects, [{ kind: 'persist-vote', term: 4, votedFor: 'a' }]);
  });

  it('opens its term with an entry of its own', () => {
    const voted = step(fresh, { kind: 'election-timeout' }).state;
    const { effects } = step(voted, { kind: 'vote-persisted', term: 4 });
    assert.deepEqual(effects, [
      { kind: 'lead', term: 4 },
      { kind: 'append', entries: [{ index: 8, term: 4, kind: 'noop', payload: new Uint8Array() }] },
    ]);
  });

  it('ignores the vote of an older term', () => {
    const voted = step(step(fresh, { kind: 'election-timeout' }).state, { kind: 'election-timeout' }).state;
    assert.equal(step(voted, { kind: 'vote-persisted', term: 4 }).state.role, 'candidate');
  });

  it('commits nothing before its disk has it', () => {
    const { state, effects } = step(elect(fresh), { kind: 'propose', payloads: [new Uint8Array([1])] });
    assert.equal(state.commitIndex, 5);
    assert.deepEqual(
      effects.map(({ kind }) => kind),
      ['append'],
    );
  });

  it('commits what earlier terms left only together with an entry of its own term (5.4.2)', () => {
    const leader = elect(fresh);
    assert.deepEqual(step(leader, { kind: 'persisted', index: 7 }).effects, []);
    assert.deepEqual(step(leader, { kind: 'persisted', index: 8 }).effects, [{ kind: 'commit', index: 8 }]);
  });

  it('never takes more as persisted than it has', () => {
    assert.equal(step(elect(fresh), { kind: 'persisted', index: 99 }).state.persistedIndex, 8);
  });

  it('refuses proposals while it does not lead', () => {
    assert.deepEqual(step(fresh, { kind: 'propose', payloads: [new Uint8Array(), new Uint8Array()] }).effects, [
      { kind: 'refuse', count: 2 },
    ]);
  });

  it('gives proposals consecutive indexes', () => {
    const { effects } = step(elect(fresh), { kind: 'propose', payloads: [new Uint8Array([1]), new Uint8Array([2])] });
    const [append] = effects;
    assert.ok(append?.kind === 'append');
    assert.deepEqual(
      append.entries.map(({ index }) => index),
      [9, 10],
    );
  });
});
