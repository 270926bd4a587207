import assert from 'node:assert/strict';
import type { RaftStatus, ServerStatus } from './types.ts';
import { UPKEEP_DEFAULTS, Upkeep } from './upkeep.ts';

const NOW = 1_000_000;
const server = (id: string, change: Partial<ServerStatus> = {}): ServerStatus => ({
  id,
  address: `${id}:1`,
  voter: true,
  matchIndex: 100,
  lastContactMs: id === 'a' ? undefined : NOW - 10,
  reachable: true,
  ...change,
});
const silent = (id: string, ms: number, change: Partial<ServerStatus> = {}) =>
  server(id, { reachable: false, lastContactMs: NOW - ms, ...change });
const status = (servers: readonly ServerStatus[], change: Partial<RaftStatus> = {}): RaftStatus => ({
  role: 'leader',
  ready: true,
  holdsLease: true,
  term: 3,
  commitIndex: 100,
  lastIndex: 100,
  appliedIndex: 100,
  snapshotIndex: 0,
  leaderId: 'a',
  servers,
  ...change,
});
const day = 86_400_000;
const removing = { ...UPKEEP_DEFAULTS, voterAfterMs: 60_000 };
const look = (servers: readonly ServerStatus[], policy = UPKEEP_DEFAULTS, managers = 'abcdefg') => {
  const step = new Upkeep().look(status(servers), (id) => managers.includes(id), policy, NOW);
  return step === undefined ? 'nothing' : `${step.kind} ${step.id}`;
};
const five = ['a', 'b', 'c'].map((id) => server(id));

describe('upkeep of the members of Raft', () => {
  const cases: readonly [string, string, () => string][] = [
    ['leaves those alone who are there', 'nothing', () => look(five)],
    [
      'takes out a non-voter that has been silent for the stated time',
      'remove d',
      () => look([...five, silent('d', 60_000, { voter: false })]),
    ],
    ['not a moment before', 'nothing', () => look([...five, silent('d', 59_999, { voter: false })])],
    [
      'not one that answers now, however long it was silent',
      'nothing',
      () => look([...five, server('d', { voter: false, lastContactMs: NOW - day, matchIndex: 0 })]),
    ],
    ['never a voter unless that is asked for', 'nothing', () => look([...five, silent('d', day)])],
    [
      'takes out a voter where that is asked for and enough are left',
      'remove d',
      () => look([...five, silent('d', 60_000)], removing),
    ],
    [
      'but no voter when fewer than three would be left',
      'nothing',
      () => look([...five.slice(0, 2), silent('c', day)], removing),
    ],
    [
      'takes out the one first that was silent for longest',
      'remove e',
      () => look([...five, silent('d', 70_000), silent('e', 80_000)], removing),
    ],
    [
      'no voter when those who are there would be no quorum of the rest',
      'nothing',
      () => look([server('a'), server('b'), silent('c', 100), silent('d', 100), silent('e', day)], removing),
    ],
    ['takes out who is no manager, a voter too', 'remove c', () => look(five, UPKEEP_DEFAULTS, 'ab')],
    [
      'who is no manager only as long as the rest is a quorum',
      'nothing',
      () => look([server('a'), server('b'), silent('c', 100)], UPKEEP_DEFAULTS, 'ac'),
    ],
    ['not itself: another has to lead first', 'nothing', () => look(five, UPKEEP_DEFAULTS, 'bc')],
  ];
  for (const [title, expected, act] of cases) it(title, () => assert.equal(act(), expected));

  it('gives a vote to who has kept up for the stated time, without a break', () => {
    const upkeep = new Upkeep();
    const at = (seconds: number, change: Partial<ServerStatus> = {}) =>
      upkeep.look(
        status([...five, server('d', { voter: false, ...change })]),
        () => true,
        UPKEEP_DEFAULTS,
        NOW + seconds * 1000,
      )?.kind;
    assert.equal(at(0), undefined);
    assert.equal(at(4.9), undefined);
    assert.equal(at(5), 'promote');
    assert.equal(at(6, { matchIndex: 20 }), undefined, 'it lags');
    assert.equal(at(7), undefined);
    assert.equal(at(8, { reachable: false }), undefined, 'it is away');
    assert.equal(at(9), undefined);
    assert.equal(at(13), undefined);
    assert.equal(at(14), 'promote');
  });

  it('counts anew for one that was away from the group meanwhile', () => {
    const upkeep = new Upkeep();
    const d = server('d', { voter: false });
    upkeep.look(status([...five, d]), () => true, UPKEEP_DEFAULTS, NOW);
    upkeep.look(status(five), () => true, UPKEEP_DEFAULTS, NOW + 1000);
    assert.equal(
      upkeep.look(status([...five, d]), () => true, UPKEEP_DEFAULTS, NOW + 9000),
      undefined,
    );
  });

  it('does nothing where it does not lead, or does not know everything yet', () => {
    for (const change of [{ role: 'follower', ready: false } as const, { ready: false }])
      assert.equal(
        new Upkeep().look(status([...five, silent('d', day)], change), () => true, removing, NOW),
        undefined,
      );
  });
});
