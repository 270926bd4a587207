import { deepEqual, equal, rejects } from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deferred } from '../../base/async.ts';
import type { LogQuery } from '../types.ts';
import { readLog } from './index.ts';
import { parseRecord } from './record.ts';

const all: LogQuery = { follow: false, tail: -1, since: 0, until: 0 };
const never = new Promise<never>(() => undefined);

describe('json-file log', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsswarm-log-'));
    path = join(directory, 'x.log');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** The record of a number: written at that second. */
  const line = (number: number): string =>
    `${JSON.stringify({ log: `${number}\n`, stream: 'stdout', time: new Date(number * 1000).toISOString() })}\n`;
  const lines = (from: number, to: number): string =>
    Array.from({ length: to - from + 1 }, (_, index) => line(from + index)).join('');
  const numbers = async (query: Partial<LogQuery>, ended: Promise<unknown> = never): Promise<number[]> => {
    const found: number[] = [];
    for await (const { data } of readLog(path, { ...all, ...query }, ended))
      found.push(Number(Buffer.from(data).toString()));
    return found;
  };

  it('keeps nanoseconds and streams', () => {
    deepEqual(parseRecord('{"log":"a","stream":"stderr","time":"1970-01-01T00:00:01.000000002Z"}'), {
      stream: 'stderr',
      timeNs: 1_000_000_002n,
      data: Buffer.from('a'),
    });
    equal(parseRecord('{"log":"a","stream":"stderr","time":"1970-01-01T00:00:01Z"}')?.timeNs, 1_000_000_000n);
    equal(parseRecord('{"log":"cut sho'), undefined);
    equal(parseRecord('null'), undefined);
  });

  it('is empty when nothing was ever written', async () => deepEqual(await numbers({}), []));

  describe('of several files', () => {
    beforeEach(() => {
      writeFileSync(`${path}.2`, lines(1, 3));
      writeFileSync(`${path}.1`, lines(4, 6));
      writeFileSync(path, lines(7, 9) + line(10).slice(0, 20));
    });
    for (const [title, query, expected] of [
      ['read whole, but for a line that is not finished', {}, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
      ['the last of one file', { tail: 2 }, [8, 9]],
      ['the last of a whole file', { tail: 3 }, [7, 8, 9]],
      ['the last of several', { tail: 5 }, [5, 6, 7, 8, 9]],
      ['more than there are', { tail: 50 }, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
      ['none', { tail: 0 }, []],
      ['from a time on', { since: 5000 }, [5, 6, 7, 8, 9]],
      ['up to a time', { until: 5000 }, [1, 2, 3, 4, 5]],
      ['between', { since: 3000, until: 4000 }, [3, 4]],
    ] as const) {
      it(title, async () => deepEqual(await numbers(query), expected));
    }
  });

  it('finds the tail of a long file', async () => {
    writeFileSync(path, lines(1, 5000));
    deepEqual(await numbers({ tail: 3 }), [4998, 4999, 5000]);
    equal((await numbers({ tail: 4000 })).length, 4000);
    equal((await numbers({})).length, 5000);
  });

  it('is followed over rotations and truncation, to the end of the container', async () => {
    writeFileSync(path, lines(1, 2));
    const end = deferred<void>();
    const found: number[] = [];
    for await (const { data } of readLog(path, { ...all, tail: 1, follow: true }, end.promise)) {
      const number = Number(Buffer.from(data).toString());
      found.push(number);
      if (number === 2) appendFileSync(path, line(3));
      if (number === 3) {
        // Twice before the reader looks again.
        appendFileSync(path, line(4));
        renameSync(path, `${path}.1`);
        writeFileSync(path, line(5));
        renameSync(`${path}.1`, `${path}.2`);
        renameSync(path, `${path}.1`);
        // Longer than what follows its truncation: a reader tells by the size.
        writeFileSync(path, line(6).replace('}', `,"pad":"${'x'.repeat(200)}"}`));
      }
      if (number === 6) {
        truncateSync(path);
        appendFileSync(path, line(7).slice(0, 9));
        setImmediate(() => appendFileSync(path, line(7).slice(9)));
      }
      if (number === 7) {
        appendFileSync(path, line(8));
        end.resolve();
      }
    }
    deepEqual(found, [2, 3, 4, 5, 6, 7, 8]);
  });

  it('is followed from before its first line', async () => {
    const end = deferred<void>();
    setImmediate(() => {
      writeFileSync(path, line(1));
      end.resolve();
    });
    deepEqual(await numbers({ follow: true }, end.promise), [1]);
  });

  it('lets a follower give up', async () => {
    writeFileSync(path, line(1));
    const abort = new AbortController();
    const reading = (async () => {
      for await (const record of readLog(path, { ...all, follow: true }, never, abort.signal)) {
        equal(record.stream, 'stdout');
        setImmediate(() => abort.abort(new Error('enough')));
      }
    })();
    await rejects(reading, /enough/);
  });
});
