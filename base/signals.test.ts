import { equal, throws } from 'node:assert/strict';
import { parseSignal } from './signals.ts';

describe('signals', () => {
  for (const [text, number] of [
    ['SIGTERM', 15],
    ['quit', 3],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
  ] as const) {
    it(`${text} is ${number}`, () => equal(parseSignal(text), number));
  }
  for (const text of ['', '0', '65', 'SIGFOO', 'RTMIN+40']) {
    it(`refuses "${text}"`, () => throws(() => parseSignal(text), { code: 'INVALID_INPUT' }));
  }
});
