import assert from 'node:assert/strict';
import { ANSWER_MS, Departures, plain } from './departures.ts';

const VIP = '10.1.0.254';
const [A, B, C] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'] as const;
const slots = (...endpoints: readonly string[]): ReadonlyMap<string, readonly string[]> => new Map([[VIP, endpoints]]);
const asked = (endpoint: string) => ({ address: VIP, endpoint, awaitsAnswer: true });

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

  it('may answer a datagram for a while, and nothing else', () => {
    assert.equal(departures.changed(slots(A, B), slots(B), 50), true);
    assert.equal(departures.isOver({ address: VIP, endpoint: A, awaitsAnswer: false }, 50), true);
    assert.equal(departures.isOver(asked(A), 50 + ANSWER_MS - 1), false);
    assert.equal(departures.isOver(asked(A), 50 + ANSWER_MS), true);
  });

  it('are looked for until a look began when no answer could come any more', () => {
    departures.changed(slots(A, B), slots(B), 0);
    departures.changed(slots(B, C), slots(B), 400);
    departures.looked(ANSWER_MS - 1);
    assert.deepEqual([departures.addresses, departures.due], [[VIP], ANSWER_MS]);
    departures.looked(ANSWER_MS);
    assert.deepEqual([departures.addresses, departures.due], [[VIP], 400 + ANSWER_MS]);
    departures.looked(400 + ANSWER_MS);
    assert.deepEqual([departures.addresses, departures.due], [[], undefined]);
  });

  it('are forgotten when they are back, and begin anew when they leave again', () => {
    departures.changed(slots(A, B), slots(B), 0);
    departures.changed(slots(B), slots(A, B), 10);
    assert.equal(departures.due, undefined);
    departures.changed(slots(A, B), slots(B), 500);
    assert.equal(departures.isOver(asked(A), ANSWER_MS), false);
    assert.equal(departures.due, 500 + ANSWER_MS);
  });

  it('that nobody knows of are given their time from when they are seen', () => {
    departures.unknown([VIP], 0);
    assert.equal(departures.isOver(asked(C), ANSWER_MS - 1), false);
    assert.equal(departures.isOver(asked(C), ANSWER_MS), true);
    departures.looked(ANSWER_MS);
    assert.equal(departures.isOver(asked(C), 2000), false, 'its first packet was tracked late');
    departures.looked(2000);
    assert.equal(departures.due, 2000 + ANSWER_MS);
    assert.equal(departures.isOver(asked(C), 2000 + ANSWER_MS), true);
  });

  it('are told as flows have them', () => {
    departures.changed(new Map([['fd09::fe', ['fd09::0011']]]), new Map(), 0);
    const leading = { address: 'fd09::fe', endpoint: plain('fd09::11'), awaitsAnswer: true };
    assert.equal(departures.isOver(leading, ANSWER_MS - 1), false);
    assert.equal(departures.isOver(leading, ANSWER_MS), true);
    departures.clear();
    assert.deepEqual(departures.addresses, []);
  });
});
