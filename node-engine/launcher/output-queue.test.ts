import { deepEqual, equal, rejects } from 'node:assert/strict';
import { OutputQueue } from './output-queue.ts';

const chunk = (text: string) => ({ stream: 'stdout' as const, data: Buffer.from(text) });
const read = async (queue: OutputQueue): Promise<string[]> => {
  const found: string[] = [];
  for await (const { data } of queue) found.push(Buffer.from(data).toString());
  return found;
};

describe('the queue between a socket and a reader', () => {
  it('delivers what came before the end, in order', async () => {
    const queue = new OutputQueue(() => undefined);
    queue.push(chunk('a'));
    const reading = read(queue);
    queue.push(chunk('b'));
    queue.end();
    queue.push(chunk('too late'));
    deepEqual(await reading, ['a', 'b']);
  });

  it('throws the failure after what came before it', async () => {
    const queue = new OutputQueue(() => undefined);
    queue.push(chunk('a'));
    queue.end(new Error('torn'));
    const seen: string[] = [];
    await rejects(async () => {
      for await (const { data } of queue) seen.push(Buffer.from(data).toString());
    }, /torn/);
    deepEqual(seen, ['a']);
  });

  it('asks its source to pause while a mebibyte waits', async () => {
    const told: boolean[] = [];
    const queue = new OutputQueue((flowing) => told.push(flowing));
    queue.push(chunk('x'.repeat(1024 * 1024 - 1)));
    equal(told.length, 0);
    queue.push(chunk('xx'));
    queue.push(chunk('y'));
    deepEqual(told, [false]);
    queue.end();
    equal((await read(queue)).length, 3);
    deepEqual(told, [false, true]);
  });

  it('lets its source flow when the reader leaves', async () => {
    const told: boolean[] = [];
    const queue = new OutputQueue((flowing) => told.push(flowing));
    for (let count = 0; count < 4; count++) queue.push(chunk('x'.repeat(1024 * 1024)));
    for await (const first of queue) if (first) break;
    deepEqual(told, [false, true]);
    queue.push(chunk('ignored'));
  });
});
