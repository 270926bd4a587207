import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import { node, service, task } from '../../test/builders/objects.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../store/index.ts';
import { schedulerStage } from './stage.ts';

describe('the scheduler, as a stage of the leader', () => {
  it('gives out no more than nodes can be heard of, and goes on as they are', async () => {
    const clock = new VirtualClock();
    const store = memoryStore(clock);
    const web = service('web');
    await store.update((tx) => {
      for (const id of ['n1', 'n2'])
        tx.create('node', { ...node(id), status: { state: 'ready', message: '', address: '' } });
      tx.create('service', web);
      for (let slot = 1; slot <= 6000; slot++) tx.create('task', task(web, slot, { state: 'pending' }, { nodeId: '' }));
    });
    const stage = schedulerStage(clock, seededRandom(1));
    const look = (): Promise<boolean> =>
      store.update((tx) => {
        const write = stage.decide(tx);
        write?.(tx);
        return write !== undefined;
      });
    const given = (): number => store.view((tx) => tx.list('task').filter(({ nodeId }) => nodeId !== '').length);
    /** As many of a node's as there are, at most, are said to run. */
    const hear = (id: string, most: number): Promise<void> =>
      store.update((tx) => {
        const silent = tx.find('task', 'node', id).filter(({ status }) => status.state === 'assigned');
        for (const one of silent.slice(0, most))
          tx.update('task', { ...one, status: { ...one.status, state: 'running' } });
      });
    const lookUntilIdle = async (): Promise<void> => {
      while (await look());
    };
    await lookUntilIdle();
    assert.equal(given(), 2000);
    await hear('n1', 300);
    await lookUntilIdle();
    assert.equal(given(), 2300);

    // Of a node that is down nothing is waited for.
    const waiting = store.view((tx) =>
      tx.find('task', 'node', 'n2').filter(({ status }) => status.state === 'assigned'),
    ).length;
    await store.update((tx) => {
      const lost = tx.get('node', 'n2' as NodeId);
      if (lost !== undefined) tx.update('node', { ...lost, status: { ...lost.status, state: 'down' } });
    });
    await lookUntilIdle();
    assert.equal(given(), 2300 + waiting);
  });
});
