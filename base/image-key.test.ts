import assert from 'node:assert/strict';
import { imageKey } from './image-key.ts';

const DIGEST = 'a'.repeat(64);

describe('the key of an image', () => {
  const same: readonly (readonly [string, string])[] = [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['acme/app:2', 'docker.io/acme/app:2'],
    [`nginx:1@sha256:${DIGEST}`, `registry.example/other@sha256:${DIGEST}`],
    [`sha256:${DIGEST}`, `nginx@sha256:${DIGEST}`],
  ];
  for (const [a, b] of same) it(`is the same for "${a}" and "${b}"`, () => assert.equal(imageKey(a), imageKey(b)));

  it('differs for other tags, paths and registries', () => {
    const keys = ['nginx', 'nginx:1', 'nginx:2', 'acme/nginx', 'localhost:5000/nginx', 'nginy'].map(imageKey);
    assert.equal(new Set(keys).size, keys.length);
  });

  it('is short, and of no text that is no reference', () => {
    assert.ok((imageKey(`registry.example:5000/${'a'.repeat(200)}:1`)?.length ?? 99) <= 14);
    assert.equal(imageKey('No Name'), undefined);
    assert.equal(imageKey(''), undefined);
  });
});
