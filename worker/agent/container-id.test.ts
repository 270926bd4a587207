import assert from 'node:assert/strict';
import { containerIdOf } from './container-id.ts';

describe('the id of a task’s container', () => {
  it('is the same with every version: a node finds by it what another version of its daemon has made', () => {
    assert.equal(containerIdOf('0'), '59fd2da87a55b7566ccc06ab5122eb6c321c9aa4bcf82292d2686a297027e03c');
    // The hash of the task alone begins with "257567825728".
    assert.equal(containerIdOf('451'), '9babaa4b34e27ef4b0bfcccc58c458b76ed0e2d8e6b424b689e1a7199a2fd006');
  });

  it('never begins with twelve decimal digits: as its host name the container could not look them up', () => {
    // Some 18 of these hashes do.
    const ids = Array.from({ length: 5_000 }, (_, task) => containerIdOf(String(task)));
    for (const id of ids) assert.match(id, /^(?!\d{12})[0-9a-f]{64}$/);
    assert.equal(new Set(ids).size, ids.length);
  });
});
