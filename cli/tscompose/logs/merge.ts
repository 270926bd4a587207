/**
 * Merges streams that are each in order into one that is. Of equal keys the earlier stream's come first.
 * @param key compared as text
 */
export async function* mergeByTime<T>(
  streams: readonly AsyncIterable<T>[],
  key: (value: T) => string,
): AsyncIterable<T> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  const heads = await Promise.all(iterators.map((iterator) => iterator.next()));
  try {
    for (;;) {
      let first = -1;
      for (const [index, head] of heads.entries()) {
        if (head.done === true) continue;
        const best = heads[first];
        if (best === undefined || best.done === true || key(head.value) < key(best.value)) first = index;
      }
      const head = heads[first];
      const iterator = iterators[first];
      if (head === undefined || head.done === true || iterator === undefined) return;
      yield head.value;
      heads[first] = await iterator.next();
    }
  } finally {
    await Promise.all(iterators.map((iterator) => iterator.return?.()));
  }
}
