import assert from 'node:assert/strict';
import { Departures, TRACKED_MS } from './departures.ts';

const VIP = '10.1.0.254';
const [A, B, C] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'] as const;
const slots = (...endpoints: readonly string[]): ReadonlyMap<string, readonly string[]> => new Map([[VIP, endpoints]]);

describe('endpoints that have left a virtual address', () => {
  let departures: Departures;
  beforeEach(() => (departures = new Departures()));

  it('are none while endpoints only come', () => {
    assert.equal(departures.changed(slots(A), slots(A, B), 0), false);
    assert.equal(departures.changed(slots(), slots(A), 0), false);
    assert.deepEqual([departures.addresses, departures.due], [[], undefined]);
  });

  it('are those of addresses that had them', () => {
    const before = new Map([...slots(A, B), ['b', ['1']], ['c', []], ['d', ['10.1.0.9']]]);
    const after = new Map([...slots(B), ['b', ['1', '2']], ['c', ['1']]]);
    assert.equal(departures.changed(before, after, 0), true);
    assert.deepEqual(departures.addresses, [VIP, 'd']);
  });

  it('are looked for until a look began when everything that was on its way is tracked', () => {
    departures.changed(slots(A, B), slots(B), 0);
    departures.changed(slots(B, C), slots(B), 400);
    departures.looked(TRACKED_MS - 1);
    assert.deepEqual([departures.addresses, departures.due], [[VIP], TRACKED_MS]);
    departures.looked(TRACKED_MS);
    assert.deepEqual([departures.addresses, departures.due], [[VIP], 400 + TRACKED_MS]);
    departures.looked(400 + TRACKED_MS);
    assert.deepEqual([departures.addresses, departures.due], [[], undefined]);
  });

  it('are forgotten when they are back, however they are written, and begin anew when they leave again', () => {
    const to = (...endpoints: readonly string[]): ReadonlyMap<string, readonly string[]> =>
      new Map([['fd09::fe', endpoints]]);
    departures.changed(to('fd09::0011'), to(), 0);
    departures.changed(to(), to('fd09::11'), 10);
    assert.deepEqual([departures.addresses, departures.due], [[], undefined]);
    departures.changed(to('fd09::11'), to(), 500);
    assert.equal(departures.due, 500 + TRACKED_MS);
    departures.clear();
    assert.deepEqual(departures.addresses, []);
  });

  it('that nobody knows of are looked for as long', () => {
    departures.unknown([VIP], 0);
    assert.deepEqual([departures.addresses, departures.due], [[VIP], TRACKED_MS]);
    departures.looked(TRACKED_MS - 1);
    assert.deepEqual(departures.addresses, [VIP]);
    departures.looked(TRACKED_MS);
    assert.deepEqual([departures.addresses, departures.due], [[], undefined]);
  });
});
