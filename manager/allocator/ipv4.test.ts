import { equal, throws } from 'node:assert/strict';
import { parseAddress, readAddress } from './ipv4.ts';

describe('an IPv4 address', () => {
  const rows: readonly (readonly [string, number | undefined])[] = [
    ['0.0.0.0', 0],
    ['10.1.2.3', 0x0a010203],
    ['255.255.255.255', 0xffffffff],
    ['010.1.2.3', 0x0a010203],
    ['', undefined],
    ['10.1.2', undefined],
    ['10.1.2.', undefined],
    ['.1.2.3', undefined],
    ['10..2.3', undefined],
    ['10.1.2.3.4', undefined],
    ['10.1.2.256', undefined],
    ['10.1.2.0003', undefined],
    ['10.1.2.3 ', undefined],
    ['10.1.2.-3', undefined],
    ['10.1.2.a', undefined],
    ['fd00::1', undefined],
  ];
  for (const [text, number] of rows)
    it(`"${text}" is ${number ?? 'none'}`, () => {
      equal(readAddress(text), number);
      if (number === undefined) throws(() => parseAddress(text), { code: 'INVALID_INPUT' });
      else equal(parseAddress(text), number);
    });
});
