import assert from 'node:assert/strict';
import { imageKey } from '../../base/image-key.ts';
import { imageKeys } from './image-keys.ts';

const image = (name: string, digit: string, createdAt = 1) => ({
  id: `sha256:${digit.repeat(64)}`,
  names: name === '' ? [] : [name],
  digest: '',
  createdAt,
});

describe('the keys of a node’s images', () => {
  it('are those of names, ids and digests, each once', () => {
    const web = { ...image('docker.io/library/web:1', 'a'), digest: `sha256:${'b'.repeat(64)}` };
    assert.deepEqual(
      new Set(imageKeys([web, web])),
      new Set([imageKey('web:1'), imageKey(web.id), imageKey(`web@${web.digest}`)]),
    );
  });

  it('are the same whatever order the images are in', () => {
    const [a, b] = [image('a', '1'), image('b', '2')];
    assert.deepEqual(imageKeys([a, b]), imageKeys([b, a]));
  });

  it('leave out the oldest when there are very many', () => {
    const many = Array.from({ length: 101 }, (_, i) => ({ ...image(`i${i}`, 'c', i), id: '' }));
    const keys = imageKeys(many);
    assert.equal(keys.length, 100);
    assert.ok(!keys.includes(imageKey('i0') ?? ''));
  });
});
