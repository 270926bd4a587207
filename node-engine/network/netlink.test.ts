import { deepEqual, equal } from 'node:assert/strict';
import { endianness } from 'node:os';
import type { NetlinkMessage } from './netlink.ts';
import { attribute, attributes, decode, encode, nested, readText, text, u16, u32 } from './netlink.ts';

const MESSAGE: NetlinkMessage = { what: 'test', type: 0x1234, flags: 4, body: attribute(3, text('eth0')) };

/** An answer as the kernel writes it. */
function reply(type: number, sequence: number, body: Buffer, flags = 0): Buffer {
  return Buffer.concat([u32(16 + body.length), u16(type), u16(flags), u32(sequence), u32(0), body]);
}

function acknowledgement(sequence: number, error: number, explanation = ''): Buffer {
  const header = Buffer.concat([u32(error), Buffer.alloc(16)]);
  return explanation === ''
    ? reply(2, sequence, header, 0x100)
    : reply(2, sequence, Buffer.concat([header, attribute(1, text(explanation))]), 0x300);
}

describe('netlink messages', () => {
  it('pads attributes to four bytes, without counting the padding', () => {
    const made = attribute(3, text('eth0'));
    equal(made.length, 12);
    if (endianness() === 'LE') equal(made.toString('hex'), '090003006574683000000000');
  });
  it('numbers requests from 1 and marks them as such', () => {
    const made = encode([MESSAGE, MESSAGE]);
    equal(made.length, 56);
    if (endianness() === 'LE') {
      equal(made.subarray(0, 16).toString('hex'), '1c0000003412050001000000' + '00000000');
      equal(made.readUInt32LE(28 + 8), 2);
    }
  });
  it('reads back what it writes', () => {
    const found = attributes(Buffer.concat([u32(7), attribute(1, u32(9)), nested(2, attribute(5, text('x')))]), 4);
    deepEqual(found.get(1), u32(9));
    equal(readText(attributes(found.get(2) ?? Buffer.alloc(0), 0).get(5)), 'x');
  });
  it('stops at an attribute that is longer than the message', () => {
    equal(attributes(Buffer.concat([u16(100), u16(1), u32(0)]), 0).size, 0);
  });

  describe('answers', () => {
    it('are kept with the number of their request', () => {
      const { replies, failures } = decode([MESSAGE], Buffer.concat([reply(16, 1, u32(5)), reply(3, 1, u32(0))]));
      deepEqual(replies, [{ type: 16, sequence: 1, body: u32(5) }]);
      deepEqual(failures, []);
    });
    it('of refusal name the request and the error', () => {
      const { failures } = decode([MESSAGE, MESSAGE], Buffer.concat([acknowledgement(1, 0), acknowledgement(2, -17)]));
      deepEqual(failures, [{ message: MESSAGE, errno: 'EEXIST', reason: 'file already exists' }]);
    });
    it('of refusal carry the explanation of the kernel', () => {
      const [failure] = decode([MESSAGE], acknowledgement(1, -22, 'Invalid address')).failures;
      equal(failure?.reason, 'Invalid address');
    });
    it('of refusal that are tolerated are none', () => {
      deepEqual(decode([{ ...MESSAGE, tolerate: ['EEXIST'] }], acknowledgement(1, -17)).failures, []);
    });
    it('that are cut short end the reading', () => {
      deepEqual(decode([MESSAGE], reply(16, 1, u32(5)).subarray(0, 18)).replies, []);
    });
  });
});
