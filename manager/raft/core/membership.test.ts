import assert from 'node:assert/strict';
import { RaftGroup, configurationEntry, member, message } from '../../../test/fakes/raft-group.ts';
import { servers } from './state.ts';
import type { MembershipChange } from './state.ts';

const led = () => {
  const group = new RaftGroup({ a: {}, b: {}, c: {} });
  group.elect('a');
  return group;
};
const change = (group: RaftGroup, input: MembershipChange) =>
  group
    .step('a', { kind: 'change-membership', change: input })
    .find(({ kind }) => kind === 'refused' || kind === 'accepted');
const ids = (group: RaftGroup, at: string) => servers(group.core(at)).map(({ id, voter }) => (voter ? id : `${id}*`));

describe('raft membership (thesis, chapter 4)', () => {
  it('adds a server as a non-voter, in force as soon as it is in the log', () => {
    const group = led();
    group.hold('a');
    assert.equal(change(group, { kind: 'add', server: member('d') })?.kind, 'accepted');
    assert.deepEqual(ids(group, 'a'), ['a', 'b', 'c', 'd*']);
    assert.ok(
      group.wire.some(({ to }) => to === 'd'),
      'the new server is fed at once',
    );
  });

  it('changes one thing at a time', () => {
    const group = led();
    change(group, { kind: 'add', server: member('d') });
    const second = change(group, { kind: 'add', server: member('e') });
    assert.equal(second?.kind === 'refused' && second.code, 'CONFLICT');
    group.deliver();
    assert.equal(change(group, { kind: 'add', server: member('e') })?.kind, 'accepted');
  });

  it('changes nothing before an entry of its own term is committed', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    group.elect('a', ({ kind }) => kind === 'append');
    const refused = change(group, { kind: 'add', server: member('d') });
    assert.equal(refused?.kind === 'refused' && refused.code, 'UNAVAILABLE');
  });

  it('rolls back a change whose entry is replaced', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} });
    const next = [member('a'), member('b'), member('c'), member('d')];
    group.receive(message('append', { term: 1, entries: [configurationEntry(1, 1, next)] }));
    assert.equal(ids(group, 'b').length, 4);
    group.receive(
      message('append', { term: 2, from: 'c', entries: [{ ...configurationEntry(1, 2, next), kind: 'noop' }] }),
    );
    assert.deepEqual(ids(group, 'b'), ['a', 'b', 'c']);
  });

  it('does not count non-voters for a commit', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {}, d: {} }, {}, [
      member('a'),
      member('b'),
      member('c', false),
      member('d', false),
    ]);
    group.elect('a');
    const { commitIndex } = group.core('a');
    group.propose('a');
    group.deliver(group.among('a', 'c', 'd'));
    assert.equal(group.core('a').commitIndex, commitIndex);
    group.pass(300, 'a');
    assert.ok(group.core('a').commitIndex > commitIndex);
  });

  it('promotes a server that has caught up, and no other', () => {
    const group = led();
    change(group, { kind: 'add', server: member('d') });
    group.deliver();
    const early = change(group, { kind: 'promote', id: 'd' });
    assert.equal(early?.kind === 'refused' && early.code, 'UNAVAILABLE');
  });

  it('promotes what follows closely', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} }, {}, [member('a'), member('b'), member('c', false)]);
    group.elect('a');
    assert.equal(change(group, { kind: 'promote', id: 'c' })?.kind, 'accepted');
    assert.deepEqual(ids(group, 'a'), ['a', 'b', 'c']);
  });

  it('counts on the new majority from the append on', () => {
    const group = new RaftGroup({ a: {}, b: {}, c: {} }, {}, [member('a'), member('b'), member('c', false)]);
    group.elect('a');
    change(group, { kind: 'promote', id: 'c' });
    const { commitIndex } = group.core('a');
    group.wire = [];
    assert.equal(group.core('a').commitIndex, commitIndex, 'one of three disks is no majority');
  });

  const refusals: readonly [string, MembershipChange, string][] = [
    ['to add a member again', { kind: 'add', server: member('b') }, 'ALREADY_EXISTS'],
    ['an address that is taken', { kind: 'add', server: { ...member('x'), address: 'b:7946' } }, 'ALREADY_EXISTS'],
    ['to remove a stranger', { kind: 'remove', id: 'x' }, 'NOT_FOUND'],
    ['to promote a voter', { kind: 'promote', id: 'b' }, 'ALREADY_EXISTS'],
    ['to demote a stranger', { kind: 'demote', id: 'x' }, 'NOT_FOUND'],
    ['to move a stranger', { kind: 'update-address', id: 'x', address: 'y' }, 'NOT_FOUND'],
  ];
  for (const [title, input, code] of refusals) {
    it(`refuses ${title}`, () => {
      const refused = change(led(), input);
      assert.equal(refused?.kind === 'refused' && refused.code, code);
    });
  }

  it('refuses to remove the last voter', () => {
    const group = new RaftGroup({ a: {} });
    group.tick('a');
    const refused = change(group, { kind: 'remove', id: 'a' });
    assert.equal(refused?.kind === 'refused' && refused.code, 'CONFLICT');
  });

  it('refuses a change that would leave no reachable quorum', () => {
    const group = led();
    group.pass(600, 'a', group.among('a', 'b'));
    const refused = change(group, { kind: 'remove', id: 'b' });
    assert.equal(refused?.kind === 'refused' && refused.code, 'CONFLICT');
    assert.equal(change(group, { kind: 'remove', id: 'c' })?.kind, 'accepted', 'the one that is away may go');
  });

  it('leads on after its own removal until that is committed, without counting itself (4.2.2)', () => {
    const group = led();
    change(group, { kind: 'remove', id: 'a' });
    assert.equal(group.core('a').role, 'leader');
    group.deliver(group.among('a', 'b'));
    assert.equal(group.core('a').role, 'leader', 'b alone is no majority of b and c');
    group.pass(250, 'a');
    assert.equal(group.core('a').role, 'follower');
    group.deliver();
    assert.ok(group.core('b').role === 'leader' || group.core('c').role === 'leader', 'somebody took over at once');
  });

  it('stands for election though demoted, while nobody knows whether that is committed (4.2.2)', () => {
    // Only a has the entry that makes it a non-voter: b cannot win a vote from it, so a must lead once more.
    const group = new RaftGroup({ a: {}, b: {} });
    group.elect('a');
    change(group, { kind: 'demote', id: 'a' });
    group.wire = [];
    group.start('a', [
      { index: 0, servers: [member('a'), member('b')] },
      { index: 3, servers: [member('a', false), member('b')] },
    ]);
    group.elect('b');
    assert.notEqual(group.core('b').role, 'leader');
    group.elect('a');
    group.pass(100, 'a');
    assert.deepEqual(ids(group, 'b'), ['a*', 'b']);
    assert.equal(group.core('b').commitIndex >= 3, true);
  });

  it('moves a server to another address', () => {
    const group = led();
    change(group, { kind: 'update-address', id: 'b', address: 'elsewhere:1' });
    const sent = group.of('a', 'send').findLast(({ to }) => to.id === 'b');
    assert.equal(sent?.to.address, 'elsewhere:1');
  });
});
