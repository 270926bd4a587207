import assert from 'node:assert/strict';
import type { NodeId } from '../../../base/ids.ts';
import type { Task } from '../../../proto/types/index.ts';
import { node, service, task } from '../../../test/builders/objects.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../../store/index.ts';
import { emptyNode } from './loop.ts';

const ID = 'w' as NodeId;

/** A node with two running tasks and an ended one, that is being emptied. */
async function leaving(state: 'ready' | 'down' = 'ready') {
  const clock = new VirtualClock();
  const store = memoryStore(clock);
  const web = service('web');
  const of = (slot: number, change: Partial<Task['status']> = {}): Task =>
    task(web, slot, change, { nodeId: ID, id: `t${slot}` as Task['id'] });
  await store.update((tx) => {
    tx.create('node', node('w', {}, { status: { state }, spec: { availability: 'pause' } }));
    for (const one of [of(1), of(2), of(3, { state: 'failed' })]) tx.create('task', one);
  });
  const life = new AbortController();
  const outcome = { value: 'waiting' };
  const emptied = emptyNode({ store, clock }, ID, life.signal);
  emptied.then(
    () => (outcome.value = 'empty'),
    (error: unknown) => (outcome.value = String(error)),
  );
  await settle();
  return {
    clock,
    life,
    outcome,
    emptied,
    availability: () => store.view((tx) => tx.get('node', ID)?.spec.availability),
    async end(slot: number) {
      await store.update((tx) => {
        const one = tx.get('task', `t${slot}` as Task['id']) ?? assert.fail();
        tx.update('task', { ...one, status: { ...one.status, state: 'shutdown' } });
      });
      await settle();
    },
  };
}

describe('a node that leaves', () => {
  it('is drained, and waited for until its tasks have ended', async () => {
    const { end, outcome, availability } = await leaving();
    assert.equal(availability(), 'drain');
    await end(1);
    assert.equal(outcome.value, 'waiting');
    await end(2);
    assert.equal(outcome.value, 'empty');
  });

  it('is what it was before when it does not leave after all', async () => {
    const { end, emptied, availability } = await leaving();
    await end(1);
    await end(2);
    await (
      await emptied
    )();
    assert.equal(availability(), 'pause');
  });

  it('is no longer waited for when its tasks should have ended', async () => {
    const { clock, outcome } = await leaving();
    await clock.advance(14_000);
    assert.equal(outcome.value, 'waiting');
    await clock.advance(2_000);
    assert.equal(outcome.value, 'empty');
  });

  it('is not waited for when it is down', async () => {
    const { outcome, availability } = await leaving('down');
    assert.deepEqual([outcome.value, availability()], ['empty', 'pause']);
  });

  it('stays when nobody asks any more', async () => {
    const { life, outcome, availability } = await leaving();
    life.abort(new Error('the caller is gone'));
    await settle();
    assert.match(outcome.value, /the caller is gone/);
    assert.equal(availability(), 'pause');
  });
});
