import assert from 'node:assert/strict';
import type { LogRecord } from '../../../node-engine/index.ts';
import { logMessages } from './log-entries.ts';

describe('log entries in messages', () => {
  const record = (n: number, bytes = 1): LogRecord => ({
    stream: 'stdout',
    timeNs: BigInt(n),
    data: Buffer.alloc(bytes, 'x'),
  });
  const nanoseconds = (time: string): number => Number(time.slice(-10, -1));
  /** Times of the entries of each message. */
  const read = async (records: AsyncIterable<LogRecord>): Promise<number[][]> => {
    const messages: number[][] = [];
    for await (const { time, more = [] } of logMessages(records))
      messages.push([time, ...more.map((one) => one.time)].map(nanoseconds));
    return messages;
  };

  it('go together when they are there, in order, up to a limit', async () => {
    const messages = await read(
      (async function* () {
        for (let i = 0; i < 1300; i++) yield record(i);
      })(),
    );
    assert.deepEqual(
      messages.flat(),
      Array.from({ length: 1300 }, (_, i) => i),
    );
    assert.deepEqual(
      messages.map(({ length }) => length),
      [513, 513, 274],
    );
    const large = await read(
      (async function* () {
        for (let i = 0; i < 6; i++) yield record(i, 64 * 1024);
      })(),
    );
    assert.deepEqual(large, [
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
  });

  it('do not wait for what may come', async () => {
    const later = Promise.withResolvers<void>();
    const messages = logMessages(
      (async function* () {
        yield record(1);
        yield record(2);
        await later.promise;
        yield record(3);
      })(),
    )[Symbol.asyncIterator]();
    const first = await messages.next();
    assert.equal(first.done !== true && first.value.more?.length, 1);
    later.resolve();
    assert.equal((await messages.next()).done, false);
    assert.equal((await messages.next()).done, true);
  });

  it('end with the error, after what came before it', async () => {
    const seen: number[] = [];
    const failing = async (): Promise<void> => {
      const records = (async function* () {
        yield record(1);
        yield record(2);
        throw new Error('torn');
      })();
      for await (const { more = [] } of logMessages(records)) seen.push(1 + more.length);
    };
    await assert.rejects(failing(), /torn/);
    assert.deepEqual(seen, [2]);
  });
});
