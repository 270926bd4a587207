import type { LogRecord } from '../../../node-engine/index.ts';
import type { LogEntry } from '../../../proto/types/index.ts';

/** A message holds at most so much of a log: lines, and bytes. */
const MOST_ENTRIES = 512;
const MOST_BYTES = 128 * 1024;

/**
 * Log records as messages: what can be had at once goes together, and nothing waits for what may come.
 */
export async function* logMessages(records: AsyncIterable<LogRecord>): AsyncIterable<LogEntry> {
  const iterator = records[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (;;) {
      const first = await next;
      if (first.done === true) return;
      const more: LogEntry[] = [];
      let bytes = first.value.data.length;
      next = iterator.next();
      // Its error is thrown by the next turn.
      next.catch(() => undefined);
      while (more.length < MOST_ENTRIES && bytes < MOST_BYTES) {
        const soon = await atOnce(next);
        if (soon === undefined || soon.done === true) break;
        more.push(entryOf(soon.value));
        bytes += soon.value.data.length;
        next = iterator.next();
        next.catch(() => undefined);
      }
      yield more.length === 0 ? entryOf(first.value) : { ...entryOf(first.value), more };
    }
  } finally {
    await iterator.return?.();
  }
}

/** The value of a promise that is settled, or is about to be; undefined: it takes its time, or fails. */
function atOnce<T>(promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const late = setImmediate(() => resolve(undefined));
    promise.then(
      (value) => {
        clearImmediate(late);
        resolve(value);
      },
      () => resolve(undefined),
    );
  });
}

function entryOf({ stream, timeNs, data }: LogRecord): LogEntry {
  return { stream, time: formatNanoseconds(timeNs), data };
}

/** RFC 3339 with nine decimals, UTC, as `docker logs -t` prints. */
function formatNanoseconds(timeNs: bigint): string {
  const ms = Number(timeNs / 1_000_000n);
  const rest = String(timeNs % 1_000_000_000n).padStart(9, '0');
  return `${new Date(ms).toISOString().slice(0, 19)}.${rest}Z`;
}
