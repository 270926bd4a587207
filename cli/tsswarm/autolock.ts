import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import { keyIdOf, parseUnlockKey } from '../../manager/raft/seal/index.ts';
import type { UpdateClusterRequest } from '../../proto/types/index.ts';
import type { NodeClient } from '../local-node/index.ts';
import type { Terminal } from '../terminal/index.ts';

/** Sealing everything anew takes the time of writing the log once. */
const PATIENCE_MS = 30_000;
const LOOK_EVERY_MS = 20;

/** What the user has to know of a key. */
export const explainUnlockKey = (key: string): string =>
  `A manager that is started again waits for this key: run 'tsswarm unlock' there and enter

    ${key}

Keep it in a password manager: without it no manager can be started again.
`;

/** Resolves when the keys of this node are locked with `key`, or lie open (undefined). On a worker: at once. */
export async function untilLocked(node: NodeClient, key: string | undefined): Promise<void> {
  const wanted = key === undefined ? '' : keyIdOf(parseUnlockKey(key));
  for (const deadline = performance.now() + PATIENCE_MS; ;) {
    const { role, lockedBy } = await node.daemon.status({});
    if (role !== 'manager' || lockedBy === wanted) return;
    if (performance.now() > deadline) {
      throw new TsswarmError('DEADLINE_EXCEEDED', 'changing autolock: it is set, but this node does not follow', {
        hint: 'the log of the node says why',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** Whether the cluster has an unlock key. */
export async function isAutolocked(node: NodeClient): Promise<boolean> {
  try {
    await node.membership.getUnlockKey({});
    return true;
  } catch (error) {
    if (isTsswarmError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

/**
 * Has the cluster take a new unlock key, which was printed before: whatever happens in between, the administrator has every
 * key that a manager may need. Resolves when the keys of this node are locked with it.
 */
export async function changeKey(
  node: NodeClient,
  request: UpdateClusterRequest & { readonly unlockKey: string },
  terminal: Terminal,
): Promise<void> {
  try {
    await node.membership.updateCluster(request);
    await untilLocked(node, request.unlockKey);
  } catch (error) {
    terminal.err('warning: the key above may not hold; "tsswarm unlock-key" prints the one that does\n');
    throw error;
  }
}
