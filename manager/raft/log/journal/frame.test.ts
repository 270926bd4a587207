import assert from 'node:assert/strict';
import { seededRandom } from '../../../../base/random.ts';
import { confirmationAt, encodeConfirmation, encodeFrame, scanFrames } from './frame.ts';

const FILE_BYTES = 2048;
const contents = [
  Buffer.from('one'),
  Buffer.alloc(100, 0),
  Buffer.from('three, which is longer than the others'),
  Buffer.of(),
];

/** A journal file with frames from `first` on, all acknowledged but the last where `lastUnheard`. */
function written(file: Buffer, first: number, frames: readonly Uint8Array[], lastUnheard = false): number[] {
  const starts: number[] = [];
  let at = 0;
  for (const [place, content] of frames.entries()) {
    const frame = encodeFrame(first + place, [content]);
    frame.copy(file, at);
    if (!lastUnheard || place < frames.length - 1)
      encodeConfirmation(first + place).copy(file, at + confirmationAt(content.length));
    starts.push(at);
    at += frame.length;
  }
  return [...starts, at];
}

const numbers = (file: Buffer, after = 0): unknown => {
  const { frames, damaged } = scanFrames(file, after);
  return { frames: frames.map(({ number }) => number), ...(damaged === undefined ? {} : { damaged }) };
};

describe('a journal file', () => {
  it('gives back what was written, in order', () => {
    const file = Buffer.alloc(FILE_BYTES);
    assert.deepEqual(numbers(file), { frames: [] });
    written(file, 5, contents);
    assert.deepEqual(
      scanFrames(file, 0).frames.map(({ content }) => Buffer.from(content)),
      contents,
    );
    assert.deepEqual(numbers(file), { frames: [5, 6, 7, 8] });
  });

  it('leaves out a write that was torn anywhere and never acknowledged, over zeros and over older frames', () => {
    for (const older of [false, true]) {
      const before = Buffer.alloc(FILE_BYTES);
      if (older) written(before, 1, [Buffer.alloc(700, 'x'), ...contents, ...contents]);
      const whole = Buffer.from(before);
      const starts = written(whole, 20, contents.slice(0, 3), true);
      const [from = 0, to = 0] = starts.slice(-2);
      for (let cut = from; cut < to; cut++) {
        // Until `cut` the new bytes, from there on the old ones; and the other way round.
        const head = Buffer.concat([whole.subarray(0, cut), before.subarray(cut)]);
        const tail = Buffer.concat([whole.subarray(0, from), before.subarray(from, cut), whole.subarray(cut)]);
        for (const torn of [head, tail]) {
          const { frames, damaged } = scanFrames(torn, 19);
          assert.equal(damaged, undefined, `cut at ${cut}`);
          assert.ok(
            frames.length === 2 || torn.equals(whole) || frames.at(-1)?.content.equals(contents[2] ?? Buffer.of()),
          );
        }
      }
    }
  });

  it('says that an acknowledged write is damaged, whichever of its bits it is', () => {
    const file = Buffer.alloc(FILE_BYTES);
    const starts = written(file, 1, contents);
    const random = seededRandom(3);
    for (const [place, content] of contents.entries()) {
      const start = starts[place] ?? 0;
      for (let bit = start * 8; bit < (start + 24 + content.length) * 8; bit += 1 + Math.floor(random.next() * 5)) {
        const changed = Buffer.from(file);
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const { frames, damaged } = scanFrames(changed, 0);
        assert.equal(damaged, place + 1, `bit ${bit}`);
        assert.equal(frames.length, place);
      }
    }
  });

  it('says so too when only a later write tells that it was acknowledged', () => {
    const file = Buffer.alloc(FILE_BYTES);
    const [start = 0, next = 0] = written(file, 1, contents.slice(0, 2), true);
    file.fill(0, start, next);
    assert.deepEqual(numbers(file), { frames: [], damaged: 1 });
  });

  it('does not mind damage to what is safe elsewhere', () => {
    const file = Buffer.alloc(FILE_BYTES);
    written(file, 1, contents);
    file.fill(0xff, 0, 64);
    assert.deepEqual(numbers(file, 4), { frames: [] });
    assert.deepEqual(numbers(file, 3), { frames: [], damaged: 4 });
  });

  it('ends where an older generation of the file begins', () => {
    const file = Buffer.alloc(FILE_BYTES);
    written(file, 1, [...contents, ...contents]);
    written(file, 9, [contents[0] ?? Buffer.of()]);
    assert.deepEqual(numbers(file, 8), { frames: [9] });
  });
});
