import type { Entry, Server, ServerId } from '../types.ts';
import { encodeConfiguration } from './configuration.ts';

/** What is written to a server's disk to make it a cluster of its own. */
export interface Recovery {
  readonly hardState: { readonly term: number; readonly votedFor: ServerId };
  readonly entry: Entry;
}

/**
 * Recovers from a quorum that is lost for good: the server goes on alone with everything in its log. Whether the newest
 * entries were committed nobody left can tell; they are kept, as they may have been acknowledged. The others must never come
 * back: they would be a second cluster.
 */
export function forceNewCluster(self: Server, disk: { readonly term: number; readonly lastIndex: number }): Recovery {
  const term = disk.term + 1;
  const payload = encodeConfiguration([{ ...self, voter: true }]);
  return {
    hardState: { term, votedFor: '' },
    entry: { index: disk.lastIndex + 1, term, kind: 'configuration', payload },
  };
}
