import { deepEqual } from 'node:assert/strict';
import { listListeners, reachablePorts } from './listeners.ts';

/** A socket as the kernel describes it: family, state, port, and its address at the 8th byte. */
function socket(family: 2 | 10, port: number, address: string): { type: number; sequence: number; body: Buffer } {
  const body = Buffer.alloc(72);
  body[0] = family;
  body[1] = 10;
  body.writeUInt16BE(port, 4);
  Buffer.from(address, 'hex').copy(body, 8);
  return { type: 20, sequence: 1, body };
}

describe('the ports that are listened to', () => {
  it('are those that others reach: any address, or one of the interfaces', () => {
    const found = reachablePorts([
      socket(2, 80, '00000000'),
      socket(2, 81, '0a000002'),
      socket(2, 82, '7f000001'),
      socket(2, 83, '7f00000b'),
      socket(10, 443, '00000000000000000000000000000000'),
      socket(10, 444, '00000000000000000000000000000001'),
      socket(10, 445, 'fd000000000000000000000000000001'),
    ]);
    deepEqual(found, new Set([80, 81, 443, 445]));
  });
  it('are asked for by state, so that connections are not walked', () => {
    const { body } = listListeners('ipv6');
    deepEqual([body.length, body[0], body[1], body.readUInt32LE(4)], [56, 10, 6, 1 << 10]);
  });
});
