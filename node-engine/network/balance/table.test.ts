import assert from 'node:assert/strict';
import { seededRandom } from '../../../base/random.ts';
import type { Slots } from './table.ts';
import { tableChange, wholeTable } from './table.ts';

const VIP = '10.9.0.254';
const endpoint = (index: number): string => `10.9.${Math.floor(index / 250) + 1}.${(index % 250) + 1}`;
const endpoints = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => endpoint(index));
const built = (wanted: Slots): Slots => wholeTable('ip', wanted, true).slots;

/** Requests of a change, and their bytes. */
function cost(count: number, next: (before: readonly string[]) => readonly string[]): readonly [number, number] {
  const before = built(new Map([[VIP, endpoints(count)]]));
  const change = tableChange('ip', before, new Map([[VIP, next(endpoints(count))]]));
  assert.ok(change);
  return [change.messages.length, change.messages.reduce((sum, { body }) => sum + body.length, 0)];
}

describe('the table of virtual addresses', () => {
  it('costs the same to change with 10 endpoints and with 1,000', () => {
    const changes: readonly ((before: readonly string[]) => readonly string[])[] = [
      (before) => [...before, '10.9.99.99'],
      (before) => before.slice(1),
      (before) => before.slice(0, -1),
      (before) => ['10.9.99.99', ...before.slice(1)],
    ];
    for (const change of changes) {
      const [messages, bytes] = cost(10, change);
      const [manyMessages, manyBytes] = cost(1000, change);
      assert.equal(manyMessages, messages);
      assert.ok(messages <= 12, `${messages} requests`);
      // The names of chains are longer: of_1001.
      assert.ok(manyBytes - bytes <= 40, `${bytes} and ${manyBytes} bytes`);
    }
  });

  it('makes a whole one of 1,000 endpoints with few requests', () => {
    assert.ok(wholeTable('ip', new Map([[VIP, endpoints(1000)]]), true).messages.length < 20);
  });

  it('makes a chain one transaction before anything leads to it', () => {
    const before = built(new Map([[VIP, endpoints(1)]]));
    const what =
      tableChange('ip', before, new Map([[VIP, endpoints(2)]]))?.messages.map((message) => message.what) ?? [];
    const [begin, end] = [what[0] ?? '', what[0] ?? ''];
    assert.deepEqual(what, [
      ...[begin, 'make the chain "of_2"', 'make a rule of the chain "of_2"', 'make a rule of the chain "of_2"', end],
      ...[begin, 'take from the map "services"', 'add to the map "endpoints"', 'add to the map "services"', end],
    ]);
  });

  it('changes nothing where nothing changes, whatever the order', () => {
    const before = built(new Map([[VIP, endpoints(5)]]));
    assert.equal(tableChange('ip', before, new Map([[VIP, endpoints(5).toReversed()]])), undefined);
  });

  it('has exactly the wanted endpoints, numbered without a gap, and moves few of them', () => {
    const random = seededRandom(7);
    let slots: Slots = new Map();
    for (let step = 0; step < 300; step++) {
      const wanted = new Map(
        [VIP, '10.9.0.253'].flatMap((address) =>
          random.next() < 0.1 ? [] : [[address, endpoints(12).filter(() => random.next() < 0.5)] as const],
        ),
      );
      const next = tableChange('ip', slots, wanted)?.slots ?? slots;
      assert.deepEqual([...next.keys()].sort(), [...wanted.keys()].sort());
      for (const [address, list] of wanted) {
        const now = next.get(address) ?? [];
        const before = slots.get(address) ?? [];
        assert.deepEqual([...now].sort(), [...list].sort());
        const stayed = before.filter((one) => list.includes(one));
        const moved = stayed.filter((one) => now.indexOf(one) !== before.indexOf(one));
        const gone = before.length - stayed.length;
        assert.ok(moved.length <= gone, `${moved.length} moved, ${gone} gone`);
      }
      slots = next;
    }
  });
});
