import assert from 'node:assert/strict';
import type { NetworkId, NodeId } from '../../base/ids.ts';
import { service, task, T0 } from '../../test/builders/objects.ts';
import { WITHDRAWAL_LIMIT_MS, Withdrawals } from './withdrawals.ts';

const NET = new Set(['net' as NetworkId]);
const OTHER = new Set(['other' as NetworkId]);
/** A task on the network "net" that is no longer wanted since version 10. */
const leaving = task(service('web'), 1, {}, {
  desiredState: 'remove',
  meta: { version: 10, createdAt: T0, updatedAt: T0 },
  addresses: [{ networkId: 'net' as NetworkId, ipv4: '10.1.0.2' }],
}); // prettier-ignore

describe('the withdrawal of a task before it is stopped', () => {
  let withdrawals: Withdrawals;
  const mustWait = (isPublic = false, now = T0): boolean => withdrawals.mustWait(leaving, 'own', isPublic, now);
  /** A node that has taken over its first message, which showed version 5. */
  const join = (session: string, networks = NET): void => {
    withdrawals.open(session);
    withdrawals.shown(session, 5, networks, 0);
    withdrawals.acknowledged(session, 0);
  };
  beforeEach(() => {
    withdrawals = new Withdrawals();
    join('own');
  });

  it('waits for nobody on a cluster of one node', () => assert.equal(mustWait(), false));

  it('waits until a node that knew the name says that it does not any more', () => {
    join('b');
    assert.equal(mustWait(), true);
    withdrawals.shown('b', 10, NET, 1);
    assert.equal(mustWait(), true, 'told, but not done');
    withdrawals.acknowledged('b', 1);
    assert.equal(mustWait(), false);
  });

  it('needs no word from a node from which nothing had to be taken away, once it was looked at', () => {
    join('b');
    assert.equal(mustWait(), true);
    withdrawals.shown('b', 10, NET, undefined);
    assert.equal(mustWait(), false);
  });

  it('counts what follows a message that is under way with that message', () => {
    join('b');
    withdrawals.shown('b', 8, NET, 1);
    withdrawals.shown('b', 10, NET, undefined);
    assert.equal(mustWait(), true);
    withdrawals.acknowledged('b', 1);
    assert.equal(mustWait(), false);
  });

  it('waits for a node without a session, which may lead to the task still, but not for ever', () => {
    withdrawals.missed('b' as NodeId, NET, T0);
    withdrawals.missed('c' as NodeId, OTHER, T0 - WITHDRAWAL_LIMIT_MS / 2);
    assert.equal(mustWait(), true);
    assert.equal(
      withdrawals.limitOf(leaving.id, T0),
      T0 + WITHDRAWAL_LIMIT_MS / 2,
      'then somebody is waited for no more',
    );
    assert.equal(mustWait(false, T0 + WITHDRAWAL_LIMIT_MS - 1), true);
    assert.equal(mustWait(false, T0 + WITHDRAWAL_LIMIT_MS), false);
  });

  it('waits for a node that is back until it says what it leads to, and not for one that is down', () => {
    withdrawals.missed('b' as NodeId, NET, T0);
    withdrawals.returned('b' as NodeId);
    assert.equal(mustWait(), false, 'down');
    withdrawals.missed('b' as NodeId, NET, T0);
    withdrawals.open('b again');
    withdrawals.returned('b' as NodeId);
    assert.equal(mustWait(), true, 'back');
    withdrawals.shown('b again', 10, NET, 0);
    withdrawals.acknowledged('b again', 0);
    assert.equal(mustWait(), false);
  });

  it('waits for a node without a session that has nothing on its network only where it has ports on every node', () => {
    withdrawals.missed('b' as NodeId, OTHER, T0);
    assert.equal(mustWait(), false);
    assert.equal(mustWait(true), true);
  });

  it('waits for the newer of two messages', () => {
    join('b');
    withdrawals.shown('b', 8, NET, 1);
    withdrawals.shown('b', 10, NET, 2);
    withdrawals.acknowledged('b', 1);
    assert.equal(mustWait(), true);
    withdrawals.acknowledged('b', 2);
    assert.equal(mustWait(), false);
  });

  it('waits for no node on other networks, unless ports of the service are published', () => {
    join('b', OTHER);
    assert.equal(mustWait(), false);
    assert.equal(mustWait(true), true);
  });

  it('waits for a node that has begun a session and not said yet what it has', () => {
    withdrawals.open('b');
    assert.equal(mustWait(), true);
    withdrawals.shown('b', 12, NET, undefined);
    assert.equal(mustWait(), true, 'it may still have what an earlier life left');
    withdrawals.shown('b', 12, NET, 0);
    withdrawals.acknowledged('b', 0);
    assert.equal(mustWait(), false);
  });

  it('does not wait for a node that is gone, and not for ever for one that is not', () => {
    join('b');
    join('c');
    assert.equal(mustWait(), true);
    let told = 0;
    withdrawals.onProgress(() => told++);
    withdrawals.close('b');
    assert.equal(told, 1);
    assert.equal(mustWait(), true);
    assert.equal(withdrawals.limitOf(leaving.id, T0), T0 + WITHDRAWAL_LIMIT_MS);
    assert.equal(mustWait(false, T0 + WITHDRAWAL_LIMIT_MS - 1), true);
    assert.equal(mustWait(false, T0 + WITHDRAWAL_LIMIT_MS), false);
  });

  it('holds to what was true when the task was given up, whatever is written of it later', () => {
    join('b');
    assert.equal(mustWait(), true);
    withdrawals.shown('b', 10, NET, undefined);
    const later = { ...leaving, meta: { ...leaving.meta, version: 11 } };
    assert.equal(withdrawals.mustWait(later, 'own', false, T0), false);
  });
});
