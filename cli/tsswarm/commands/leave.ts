import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { removeUnit } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';

/** Leaves the cluster: the daemon removes what it runs and its cluster state, answers, and ends. */
export async function leave(
  place: NodePlace,
  options: { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    await node.daemon.leave({ force: options.force === true });
  } finally {
    node.close();
  }
  if (place.isDefault) await removeUnit();
  terminal.out('Node left the swarm. Images and volumes are kept.\n');
}
