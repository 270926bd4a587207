import type { NodeId } from '../../base/ids.ts';
import type { Node, WatchIdentityRequest } from '../../proto/types/index.ts';
import type { ReadTransaction, Store } from '../store/types.ts';

/**
 * What nodes say that they use of the CA: the issuer of their certificate, and the roots that they trust. A rotation waits for just that.
 * A node says it anew whenever it changes, on another stream; what it said before may come later than that, from a link that was cut
 * meanwhile, and would stand as the last word. It is taken back when its stream ends, as the node does not wait there any more.
 */
export class Usages {
  readonly #store: Store;
  readonly #member: (tx: ReadTransaction, nodeId: NodeId) => Node;
  /** What each node says on the streams that it has here, in the order in which they came. */
  readonly #said = new Map<NodeId, WatchIdentityRequest[]>();

  /** @param member the node of an id; throws where it is no member */
  constructor(store: Store, member: (tx: ReadTransaction, nodeId: NodeId) => Node) {
    this.#store = store;
    this.#member = member;
  }

  /** A stream begins. @returns the function for its end */
  begin(request: WatchIdentityRequest): () => void {
    const { nodeId } = request;
    const all = this.#said.get(nodeId) ?? [];
    this.#said.set(nodeId, all);
    all.push(request);
    return () => {
      all.splice(all.indexOf(request), 1);
      const last = all.at(-1);
      if (last === undefined) this.#said.delete(nodeId);
      // Who leads next is told anew.
      else this.record(last).catch(() => undefined);
    };
  }

  /** Writes down what a node uses. @throws what `member` throws, and what the store does */
  async record({ nodeId, usedIssuer, trustedRoots }: WatchIdentityRequest): Promise<void> {
    await this.#store.update((tx) => {
      const node = this.#member(tx, nodeId);
      const { certificate } = node;
      if (certificate === undefined) return;
      if (certificate.usedIssuer === usedIssuer && certificate.trustedRoots.join() === trustedRoots.join()) return;
      tx.update('node', { ...node, certificate: { ...certificate, usedIssuer, trustedRoots } });
    });
  }
}
