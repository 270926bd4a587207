import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Above this V8 is left to itself: it collects in pieces, and a whole collection at once would hold heartbeats up. */
const LARGEST_HEAP = 96 * 1024 * 1024;

/**
 * What collects the garbage of a heap that is small enough (80 to 110 ms of CPU where small objects of 63 MiB are in use, on two threads), and gives its pages back. V8 does so by itself, but goes by
 * what is allocated: at rest, which allocates little, it comes late or not at all. Compiled code is kept, the next work needs it.
 * @param largest bytes; a heap that has more is left alone
 */
export function collectorAtRest(largest: number = LARGEST_HEAP): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: { readonly type: 'major' }) => void;
  return () => {
    if (process.memoryUsage().heapTotal <= largest) collect({ type: 'major' });
  };
}
