import assert from 'node:assert/strict';
import { MAX_CLOCK_SKEW_MS, clockSkew, spanWords } from './clock-skew.ts';

const NOON = Date.UTC(2026, 0, 31, 12);

describe('clocks that differ', () => {
  it('are near enough up to an hour', () => {
    assert.equal(clockSkew(NOON + MAX_CLOCK_SKEW_MS, NOON), undefined);
    assert.equal(clockSkew(NOON - MAX_CLOCK_SKEW_MS, NOON), undefined);
  });

  it('are told with both times, and how far apart they are', () => {
    assert.equal(
      clockSkew(NOON + 2 * MAX_CLOCK_SKEW_MS + 300_000, NOON),
      'the clock of the node says 2026-01-31T14:05:00Z, that of the manager 2026-01-31T12:00:00Z: it is 2h5m ahead, at most 1h is allowed',
    );
    assert.match(clockSkew(NOON - 49 * MAX_CLOCK_SKEW_MS, NOON) ?? '', /it is 2d1h behind/);
  });

  it('are told in two units at most', () => {
    const cases = {
      0: '0ms',
      500: '500ms',
      1500: '1.5s',
      40_000: '40s',
      60_000: '1m',
      3_601_000: '1h',
      93_784_000: '1d2h',
    };
    for (const [ms, words] of Object.entries(cases)) assert.equal(spanWords(Number(ms)), words);
  });
});
