import assert from 'node:assert/strict';
import { collectorAtRest } from './collect.ts';

const GARBAGE_BYTES = 8 * 1024 * 1024;

describe('a daemon at rest', () => {
  /** Bytes that a collection gives back of what nobody holds any more. */
  const freed = (largest: number): number => {
    collectorAtRest(Infinity)();
    let garbage: unknown[] | undefined = Array.from({ length: 300_000 }, (_, index) => ({ index, list: [index] }));
    assert.ok(garbage.length > 0);
    garbage = undefined;
    const before = process.memoryUsage().heapUsed;
    collectorAtRest(largest)();
    return before - process.memoryUsage().heapUsed;
  };

  it('collects what its heap holds no more', () => {
    const bytes = freed(Infinity);
    assert.ok(bytes > GARBAGE_BYTES, `${bytes} bytes`);
  });

  it('leaves a large heap to V8, which does it in pieces', () => {
    const bytes = freed(1);
    assert.ok(bytes < GARBAGE_BYTES, `${bytes} bytes`);
  });
});
