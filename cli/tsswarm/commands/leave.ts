import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { removeUnit } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';

const END_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

/** Leaves the cluster: the daemon removes what it runs and its cluster state, answers, and ends. */
export async function leave(
  place: NodePlace,
  options: { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    const { pid } = await node.daemon.status({});
    await node.daemon.leave({ force: options.force === true });
    await ended(pid);
  } finally {
    node.close();
  }
  if (place.isDefault) await removeUnit();
  terminal.out('Node left the swarm. Images and volumes are kept.\n');
}

/** The daemon answers before it ends; what it does then belongs to leaving. */
async function ended(pid: number): Promise<void> {
  const deadline = performance.now() + END_TIMEOUT_MS;
  while (isAlive(pid) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
