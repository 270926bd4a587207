import type { Readable } from 'node:stream';

/** Messages that may lie unread before the sender is asked to wait. */
const ROOM = 16;

interface Reader<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The messages of a stream, one after the other. A stream's own iterator and a generator around it make some ten promises a message,
 * which between managers is most of what a put allocates; this makes one, and none while messages lie ready.
 * Whoever stops reading leaves the stream as it is: the call may still have an answer to give.
 * @param check looks at every message before it is handed out; what it throws ends the reading
 */
export function inbox<T>(stream: Readable, check: (message: T) => void): AsyncIterableIterator<T, undefined> {
  const waiting: T[] = [];
  let reader: Reader<T> | undefined;
  let over = false;
  let failure: { readonly error: unknown } | undefined;

  const leave = (): void => {
    over = true;
    stream.removeListener('data', take);
    stream.removeListener('end', end);
    stream.removeListener('close', closed);
    stream.removeListener('error', fail);
    // It must not flow on into nothing.
    stream.pause();
  };
  const finish = (): void => {
    leave();
    const last = reader;
    reader = undefined;
    if (last === undefined) return;
    if (failure === undefined) return last.resolve({ done: true, value: undefined });
    const { error } = failure;
    failure = undefined;
    last.reject(error);
  };
  const fail = (error: unknown): void => {
    failure = { error };
    finish();
  };
  const end = (): void => finish();
  const closed = (): void => fail(new Error('the stream was closed before its end'));
  const take = (message: T): void => {
    try {
      check(message);
    } catch (error) {
      return fail(error);
    }
    if (reader !== undefined) {
      const { resolve } = reader;
      reader = undefined;
      return resolve({ done: false, value: message });
    }
    waiting.push(message);
    if (waiting.length >= ROOM) stream.pause();
  };
  stream.on('data', take);
  stream.on('end', end);
  stream.on('close', closed);
  stream.on('error', fail);

  return {
    next() {
      const message = waiting.shift();
      if (message !== undefined) {
        if (waiting.length === 0 && !over && stream.isPaused()) stream.resume();
        return Promise.resolve({ done: false, value: message });
      }
      if (failure !== undefined) {
        const { error } = failure;
        failure = undefined;
        return Promise.reject(error as Error);
      }
      if (over) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve, reject) => (reader = { resolve, reject }));
    },
    return() {
      if (!over) leave();
      waiting.length = 0;
      failure = undefined;
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
