import { deepEqual, equal, throws } from 'node:assert/strict';
import type { Announcement } from './frames.ts';
import { FrameDecoder, encodeFrame, encodeSize } from './frames.ts';

const frame = (type: string, payload: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(payload as string, 'latin1');
  const header = Buffer.alloc(5);
  header.write(type, 0, 'latin1');
  header.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
};

describe('frames of the control socket', () => {
  it('are a type, a length and a payload', () => {
    equal(encodeFrame('I', Buffer.from('ab')).toString('latin1'), 'I\0\0\0\x02ab');
    equal(encodeFrame('A').toString('latin1'), 'A\0\0\0\0');
    deepEqual([...encodeSize(300, 40)], [1, 44, 0, 40]);
  });

  const stream = Buffer.concat([frame('1', 'out'), frame('2', ''), frame('2', 'err'), frame('X', '\0\0\0\x89\x01')]);
  const expected = [
    ['output', 'stdout', 'out'],
    ['output', 'stderr', ''],
    ['output', 'stderr', 'err'],
    ['exit', 137, true],
  ];
  const plain = (said: Announcement): unknown[] =>
    said.type === 'output'
      ? [said.type, said.stream, Buffer.from(said.data).toString()]
      : said.type === 'exit'
        ? [said.type, said.code, said.oomKilled]
        : [said.type];

  for (const size of [1, 2, 4, 5, 7, stream.length])
    it(`are found in pieces of ${size} bytes`, () => {
      const decoder = new FrameDecoder();
      const found: unknown[] = [];
      for (let at = 0; at < stream.length; at += size)
        found.push(...decoder.push(stream.subarray(at, at + size)).map(plain));
      deepEqual(found, expected);
    });

  for (const [title, bytes] of [
    ['an unknown type', frame('Z', '')],
    ['an exit of the wrong length', frame('X', 'abc')],
    ['an impossible length', Buffer.from('1\xff\xff\xff\xff', 'latin1')],
  ] as const)
    it(`refuse ${title}`, () => throws(() => new FrameDecoder().push(bytes), /control socket/));
});
