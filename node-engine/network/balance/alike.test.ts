import assert from 'node:assert/strict';
import { seededRandom } from '../../../base/random.ts';
import type { Random } from '../../../base/random.ts';
import { AlikeTables } from './alike.ts';
import type { Slots } from './table.ts';
import { tableChange, wholeTable } from './table.ts';

const [A, B] = ['10.9.0.1', '10.9.0.2'];
const endpoints = (...numbers: readonly number[]): readonly string[] => numbers.map((number) => `10.9.1.${number}`);

describe('tables of containers that are changed alike', () => {
  it('are made once, and encoded once', () => {
    const tables = new AlikeTables();
    const [one, two] = [endpoints(1, 2, 3), endpoints(1, 3)];
    const wanted = (list: readonly string[]): Slots => new Map([[A, list]]);
    const first = tables.whole('ip', wanted(one), true);
    assert.equal(tables.whole('ip', wanted(one), true), first);
    const change = tables.change('ip', first.slots, wanted(two));
    assert.ok(change);
    assert.equal(tables.change('ip', first.slots, wanted(two)), change);
    assert.equal(tables.change('ip', change.slots, wanted(two)), undefined);
    // Another kind of address, one more address, or a table that is replaced, is another change.
    assert.notEqual(tables.whole('ip6', wanted(one), true), first);
    assert.notEqual(tables.whole('ip', wanted(one), false), first);
    assert.notEqual(tables.whole('ip', new Map([...wanted(one), [B, two]]), true), first);
  });

  it('are the same of a container that began later, and of one that began before', () => {
    const tables = new AlikeTables();
    const [one, two, three] = [endpoints(1, 2, 3, 4, 5), endpoints(2, 3, 4, 5), endpoints(3, 4, 5, 6)];
    const old = tables.change('ip', tables.whole('ip', new Map([[A, one]]), true).slots, new Map([[A, two]]));
    const young = tables.whole('ip', new Map([[A, two]]), true);
    assert.deepEqual(young.slots.get(A), endpoints(5, 2, 3, 4));
    assert.equal(young.slots, old?.slots);
    // And where the later one is the first that wants something.
    const next = tables.whole('ip', new Map([[A, three]]), true);
    assert.equal(tables.change('ip', old?.slots ?? new Map(), new Map([[A, three]]))?.slots, next.slots);
  });

  it('are what they would be of one alone, whatever the others want', () => {
    const random = seededRandom(11);
    const tables = new AlikeTables();
    const have: Slots[] = [];
    for (let step = 0; step < 400; step++) {
      const lists = [A, B].map((address) => [address, endpoints(...few(random))] as const);
      const wanted = new Map(random.next() < 0.3 ? lists.slice(0, 1) : lists);
      const index = Math.floor(random.next() * 6);
      const before = have[index];
      const change = before === undefined ? tables.whole('ip', wanted, true) : tables.change('ip', before, wanted);
      const alone = before === undefined ? wholeTable('ip', wanted, true) : tableChange('ip', before, wanted);
      assert.equal(change === undefined, alone === undefined);
      const after = change?.slots ?? before ?? new Map<string, readonly string[]>();
      assert.deepEqual(
        [...after].map(([address, list]) => [address, list.toSorted()]).sort(),
        [...wanted].map(([address, list]) => [address, list.toSorted()]).sort(),
      );
      // The question for what was led is the one request more.
      if (before !== undefined && change !== undefined)
        assert.deepEqual(change.messages.slice(1), alone?.messages, `step ${step}`);
      have[index] = after;
      if (random.next() < 0.1) delete have[Math.floor(random.next() * 6)];
    }
  });
});

function few(random: Random): readonly number[] {
  return Array.from({ length: 8 }, (_, index) => index + 1).filter(() => random.next() < 0.6);
}
