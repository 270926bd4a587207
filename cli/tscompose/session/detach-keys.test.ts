import assert from 'node:assert/strict';
import { DetachWatch, readDetachKeys } from './detach-keys.ts';

describe('keys that detach', () => {
  it('are read as Docker names them', () => {
    assert.deepEqual([...readDetachKeys('ctrl-p,ctrl-q')], [16, 17]);
    assert.deepEqual([...readDetachKeys('a,ctrl-\\')], [97, 28]);
    assert.deepEqual([...readDetachKeys('')], []);
    for (const wrong of ['ctrl-1', 'ab', 'a,,b', 'ctrl-']) assert.throws(() => readDetachKeys(wrong), /is no key/);
  });

  const rows: readonly [title: string, typed: readonly string[], sent: string, detached: boolean][] = [
    ['other keys go through', ['abc', 'd'], 'abcd', false],
    ['the keys, and nothing after them', ['ab\u0010\u0011cd'], 'ab', true],
    ['the keys one by one', ['\u0010', '\u0011'], '', true],
    ['a beginning that goes on otherwise', ['\u0010x'], '\u0010x', false],
    ['a beginning twice', ['\u0010\u0010\u0011'], '\u0010', true],
    ['the second key alone', ['\u0011'], '\u0011', false],
  ];
  for (const [title, typed, sent, detached] of rows) {
    it(title, () => {
      const watch = new DetachWatch(readDetachKeys('ctrl-p,ctrl-q'));
      const answers = typed.map((text) => watch.take(Buffer.from(text)));
      assert.equal(answers.map(({ send }) => Buffer.from(send).toString()).join(''), sent);
      assert.equal(answers.at(-1)?.detached, detached);
    });
  }
});
