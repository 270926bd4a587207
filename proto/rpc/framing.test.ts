import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { Deframer, frame } from './framing.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';

describe("gRPC's frames", () => {
  const messages = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(70_000, 7), Buffer.from('four')];

  it('begin with a byte and four of length', () => {
    assert.equal(frame(Buffer.from('abc')).toString('hex'), `0000000003${Buffer.from('abc').toString('hex')}`);
  });

  it('are found again wherever the bytes are cut', () => {
    const bytes = Buffer.concat(messages.map(frame));
    for (const step of [1, 4, 5, 6, 1000, bytes.length]) {
      const deframer = new Deframer();
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += step) found.push(...deframer.take(bytes.subarray(at, at + step)));
      assert.deepEqual(found, messages, `pieces of ${step}`);
    }
  });

  it('that are too long or compressed are refused before their bytes are waited for', () => {
    const long = Buffer.alloc(5);
    long.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 1);
    assert.throws(
      () => new Deframer().take(long),
      (error) => isTsswarmError(error, 'TOO_LARGE'),
    );
    assert.throws(
      () => new Deframer().take(Buffer.from([1, 0, 0, 0, 0])),
      (error) => isTsswarmError(error, 'CORRUPT'),
    );
  });
});
