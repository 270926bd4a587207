import assert from 'node:assert/strict';
import { newContainerId } from './ids.ts';
import { seededRandom } from './random.ts';

describe('a new container id', () => {
  it('has 64 hexadecimal digits, the first twelve of them never decimal alone', () => {
    const random = seededRandom(1);
    for (let i = 0; i < 5_000; i++) assert.match(newContainerId(random), /^(?!\d{12})[0-9a-f]{64}$/);
  });
});
