import { deepEqual, equal } from 'node:assert/strict';
import type { FoundDrift } from '../../../node-engine/types.ts';
import { mergeDrifts } from './merge.ts';

const mended = (field: string): FoundDrift => ({ field, expected: '40', found: '9', repaired: true, reason: '' });
const told = (field: string): FoundDrift => ({ ...mended(field), repaired: false, reason: 'only reported' });

describe('what is known of changes by hand', () => {
  it('is nothing new when nothing was found', () => {
    const known = mergeDrifts([], [mended('pids.max')], 1);
    equal(mergeDrifts(known, [], 2), known);
  });
  it('counts how often the same was repaired', () => {
    const known = mergeDrifts([], [mended('pids.max')], 1);
    const [again] = mergeDrifts(known, [mended('pids.max')], 2);
    deepEqual([again?.count, again?.at], [2, 2]);
  });
  it('stays the same while what is only reported is still there, and goes when it is gone', () => {
    const known = mergeDrifts([], [told('mount /x')], 1);
    equal(mergeDrifts(known, [told('mount /x')], 2), known);
    deepEqual(mergeDrifts(known, [], 3), []);
  });
  it('has the newest first, and no end of them', () => {
    let known = mergeDrifts([], [mended('first')], 0);
    for (let i = 1; i <= 30; i++) known = mergeDrifts(known, [mended(`field ${i}`)], i);
    equal(known.length, 20);
    equal(known[0]?.field, 'field 30');
  });
});
