import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Cluster, Node } from '../../proto/types/index.ts';
import type { ReadTransaction, Store, StoreChange } from '../store/types.ts';

/** swarmkit remembers a removed node for a week longer than its certificate can hold. */
const FORGET_AFTER_MS = 7 * 24 * 3600 * 1000;

/** The one cluster object. @throws NOT_FOUND before there is one */
export function clusterOf(tx: ReadTransaction): Cluster {
  const cluster = tx.list('cluster')[0];
  if (cluster === undefined) {
    throw new TsswarmError('NOT_FOUND', 'reading the cluster: there is none', { hint: 'make one: tsswarm init' });
  }
  return cluster;
}

/** The cluster as it may be shown: without private keys and the unlock key. */
export function withoutKeys(cluster: Cluster): Cluster {
  const { caRotation, unlockKey: _, ...rest } = cluster;
  return {
    ...rest,
    rootCaKey: '',
    ...(caRotation === undefined ? {} : { caRotation: { ...caRotation, rootKey: '' } }),
  };
}

/**
 * The cluster without a node: its certificate is refused from now on, as long as it could hold. To be stored in the same
 * transaction that removes the node.
 * @param now wall time, ms
 */
export function withRemovedNode(cluster: Cluster, node: Node, now: number): Cluster {
  const others = (cluster.removedNodes ?? []).filter(({ id, forgetAt }) => id !== node.id && forgetAt > now);
  if (node.certificate === undefined) return { ...cluster, removedNodes: others };
  const forgetAt = node.certificate.expiresAt + FORGET_AFTER_MS;
  return { ...cluster, removedNodes: [...others, { id: node.id, forgetAt }] };
}

/** What the store says of the nodes that call, as it is at each call: for `listenTls`. */
export interface Standing {
  /** Whether the node was removed. */
  readonly isRemoved: (nodeId: NodeId) => boolean;
  /**
   * Whether a manager's certificate that began at `issuedAt` was followed by a worker's: the node was demoted. A manager
   * that lags behind must not take a newly promoted one for demoted, or it could never catch up: hence the times.
   */
  readonly isDemoted: (nodeId: NodeId, issuedAt: number) => boolean;
  /** Calls `listener` whenever one of the two may say another thing of a node, until the returned function is called. */
  readonly onChange: (listener: () => void) => () => void;
}

/** {@link Standing} by the store. */
export function standing(store: Pick<Store, 'view' | 'viewAndWatch'>): Standing {
  return {
    isRemoved: (nodeId) =>
      store.view((tx) => tx.list('cluster')[0]?.removedNodes ?? []).some(({ id }) => id === nodeId),
    isDemoted: (nodeId, issuedAt) => {
      const certificate = store.view((tx) => tx.get('node', nodeId))?.certificate;
      return certificate?.role === 'worker' && certificate.issuedAt > issuedAt;
    },
    onChange(listener) {
      const life = new AbortController();
      void followStanding(store, listener, life.signal);
      return () => life.abort();
    },
  };
}

/** Until `signal` aborts or the store is closed. */
async function followStanding(
  store: Pick<Store, 'viewAndWatch'>,
  listener: () => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { watch } = store.viewAndWatch(() => undefined);
    const close = (): void => watch.close();
    signal.addEventListener('abort', close, { once: true });
    try {
      for await (const { changes } of watch) if (changes.some(changesStanding)) listener();
      return;
    } catch {
      // Too far behind: what was missed is looked at as a whole.
      listener();
    } finally {
      signal.removeEventListener('abort', close);
    }
  }
}

function changesStanding({ table, before, after }: StoreChange): boolean {
  if (table === 'cluster') return after?.removedNodes !== before?.removedNodes;
  return table === 'node' && before?.certificate?.role === 'manager' && after?.certificate?.role === 'worker';
}
