import { openNode } from '../../local-node/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';

/** Connects to the node, does the work, and lets go of it. @throws UNAVAILABLE, PERMISSION_DENIED when none answers */
export async function withNode<T>(place: NodePlace, work: (node: NodeClient) => Promise<T>): Promise<T> {
  const node = await openNode(place);
  try {
    return await work(node);
  } finally {
    node.close();
  }
}

/** "self" is the node that is asked. */
export async function idOf(node: NodeClient, name: string): Promise<string> {
  return name === 'self' ? (await node.daemon.status({})).nodeId : name;
}
