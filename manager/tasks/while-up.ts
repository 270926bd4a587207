import type { Clock, Timer } from '../../base/clock.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Node } from '../../proto/types/index.ts';
import type { Store } from '../store/types.ts';

/** A node that changes its manager is down for a moment: only for so long a call outlives it, ms. */
const GRACE_MS = 5_000;

/**
 * A stream of a node that ends with an error when the node is down: a machine without power does not close its connections.
 * @param begin makes the stream; its signal aborts with the error, and with `outer`
 */
export async function* whileUp<T>(
  store: Store,
  clock: Clock,
  nodeId: NodeId,
  outer: AbortSignal,
  begin: (signal: AbortSignal) => AsyncIterable<T>,
  error: (node: Node | undefined) => Error,
): AsyncIterable<T> {
  const down = new AbortController();
  const { result, watch } = store.viewAndWatch((tx) => tx.get('node', nodeId));
  let timer: Timer | undefined;
  const look = (node: Node | undefined): void => {
    if (node?.status.state !== 'down' && node !== undefined) {
      timer?.cancel();
      timer = undefined;
    } else timer ??= clock.startTimer(GRACE_MS, () => down.abort(error(node)));
  };
  look(result);
  const following = (async () => {
    for await (const { changes } of watch) {
      if (changes.some(({ table }) => table === 'node')) look(store.view((tx) => tx.get('node', nodeId)));
    }
  })();
  // A store that ends ends everything.
  following.catch(() => undefined);
  try {
    yield* begin(AbortSignal.any([outer, down.signal]));
  } finally {
    timer?.cancel();
    watch.close();
  }
}
