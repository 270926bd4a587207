import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { inbox } from './inbox.ts';

const accept = (): void => undefined;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the messages of a stream', () => {
  const stream = (): PassThrough => new PassThrough({ objectMode: true });

  it('come in order, whether they lie ready or are waited for, and end with the stream', async () => {
    const source = stream();
    const heard: number[] = [];
    const reading = (async () => {
      for await (const message of inbox<number>(source, accept)) {
        heard.push(message);
        if (message % 3 === 0) await turn();
      }
    })();
    for (let i = 0; i < 100; i++) {
      if (!source.write(i)) await new Promise((resolve) => source.once('drain', resolve));
      if (i % 7 === 0) await turn();
    }
    source.end();
    await reading;
    assert.deepEqual(
      heard,
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  it('that lie unread make the sender wait', async () => {
    const source = stream();
    const messages = inbox<number>(source, accept);
    let sent = 0;
    while (sent < 1000 && source.write(sent)) {
      sent++;
      await turn();
    }
    assert.ok(sent < 1000, 'the sender was never told to wait');
    const drained = new Promise((resolve) => source.once('drain', resolve));
    for (let i = 0; i < sent; i++) assert.deepEqual(await messages.next(), { done: false, value: i });
    await drained;
  });

  it('that the check refuses end the reading with its error, after those before', async () => {
    const source = stream();
    const messages = inbox<number>(source, (message) => {
      if (message === 2) throw new Error('two is refused');
    });
    for (const message of [1, 2, 3]) source.write(message);
    await turn();
    assert.deepEqual(await messages.next(), { done: false, value: 1 });
    await assert.rejects(messages.next(), /two is refused/);
    assert.deepEqual(await messages.next(), { done: true, value: undefined });
  });

  it('stop with an error when the stream breaks, also while somebody waits', async () => {
    const broken = stream();
    const waiting = inbox(broken, accept).next();
    broken.destroy(new Error('cut'));
    await assert.rejects(waiting, /cut/);
    const gone = stream();
    const messages = inbox(gone, accept);
    gone.destroy();
    await turn();
    await assert.rejects(messages.next(), /closed before its end/);
  });

  it('leave the stream whole when nobody reads on', async () => {
    const source = stream();
    const messages = inbox<number>(source, accept);
    source.write(1);
    for await (const message of messages) if (message === 1) break;
    assert.equal(source.destroyed, false);
    assert.deepEqual(await messages.next(), { done: true, value: undefined });
  });
});
