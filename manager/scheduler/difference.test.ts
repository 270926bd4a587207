import assert from 'node:assert/strict';
import { seededRandom } from '../../base/random.ts';
import { eachDifference } from './difference.ts';

interface Thing {
  readonly id: string;
  readonly version: number;
}

describe('eachDifference()', () => {
  it('brings a copy to what the list is, whatever happened to it', () => {
    const random = seededRandom(5);
    let list: readonly Thing[] = [];
    const copy = new Map<string, Thing>();
    for (let round = 0; round < 500; round++) {
      const next = list
        .filter(() => random.next() > 0.2)
        .map((thing) => (random.next() < 0.3 ? { ...thing, version: thing.version + 1 } : thing));
      for (let i = 0; i < random.next() * 5; i++) next.push({ id: `${round}-${i}`, version: 0 });
      if (random.next() < 0.1) next.reverse();
      eachDifference(
        list,
        next,
        (thing) => copy.set(thing.id, thing),
        (id) => copy.delete(id),
      );
      assert.equal(copy.size, next.length);
      for (const thing of next) assert.equal(copy.get(thing.id), thing);
      list = next;
    }
  });

  it('tells of nothing but what changed', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((id) => ({ id, version: 0 }));
    assert.ok(a && b && c);
    const told: string[] = [];
    const newB = { ...b, version: 1 };
    const d = { id: 'd', version: 0 };
    eachDifference(
      [a, b, c],
      [newB, c, d],
      ({ id }) => told.push(`put ${id}`),
      (id) => told.push(`remove ${id}`),
    );
    assert.deepEqual(told, ['put b', 'put d', 'remove a']);
  });
});
