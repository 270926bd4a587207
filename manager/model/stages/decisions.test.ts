import assert from 'node:assert/strict';
import { TsswarmError } from '../../../base/errors.ts';
import { node } from '../../../test/builders/objects.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../../store/memory.ts';
import type { Store, WriteTransaction } from '../../store/types.ts';
import { Decisions } from './decisions.ts';
import type { Stage } from './stage.ts';

/** Gives every node without one a label. */
const labels: Stage = {
  name: 'labels',
  concerns: (table) => table === 'node',
  decide(view) {
    const bare = view.list('node').filter(({ spec }) => spec.labels['seen'] === undefined);
    if (bare.length === 0) return undefined;
    return (tx) => {
      for (const one of bare) tx.update('node', { ...one, spec: { ...one.spec, labels: { seen: 'yes' } } });
    };
  },
};

describe('what the leader decides in the transactions of others', () => {
  let now = 0;
  let store: Store;
  let decisions: Decisions;
  const add =
    (id: string) =>
    (tx: WriteTransaction): void =>
      tx.create('node', node(id));
  const seen = (id: string): boolean =>
    store.view((tx) => tx.list('node').some((one) => one.id === id && one.spec.labels['seen'] === 'yes'));
  beforeEach(() => {
    now = 0;
    store = memoryStore(new VirtualClock());
    decisions = new Decisions({ monotonic: () => now });
  });

  it('is in the same write', async () => {
    decisions.use([labels]);
    const before = store.view(({ version }) => version);
    await decisions.within(store).update(add('a'));
    assert.deepEqual([seen('a'), store.view(({ version }) => version) - before], [true, 1]);
  });

  it('is nothing while this manager does not lead, and where nothing can follow', async () => {
    await decisions.update(store, add('a'));
    decisions.use([labels]);
    await decisions.update(store, add('b'), () => false);
    assert.deepEqual([seen('a'), seen('b')], [false, false]);
  });

  it('takes nothing with it where it fails', async () => {
    const broken: Stage = {
      ...labels,
      decide() {
        throw new Error('broken');
      },
    };
    decisions.use([broken, labels]);
    await decisions.update(store, add('a'));
    assert.equal(seen('a'), true);
  });

  it('is left to the loop for a while after it has taken long', async () => {
    let looks = 0;
    const slow: Stage = {
      ...labels,
      decide() {
        looks++;
        now += 50;
        return undefined;
      },
    };
    decisions.use([slow]);
    for (let index = 0; index < 30; index++) await decisions.update(store, add(`n${index}`));
    assert.equal(looks, 2);
  });

  it('is left out where both together are too large', async () => {
    const tight: Pick<Store, 'update'> = {
      update: (write) =>
        store.update((tx) => {
          const result = write(tx);
          if (tx.list('node').some(({ spec }) => spec.labels['seen'] === 'yes'))
            throw new TsswarmError('TOO_LARGE', 'storing a transaction');
          return result;
        }),
    };
    decisions.use([labels]);
    await decisions.update(tight, add('a'));
    assert.deepEqual([seen('a'), store.view((tx) => tx.list('node').length)], [false, 1]);
  });
});
