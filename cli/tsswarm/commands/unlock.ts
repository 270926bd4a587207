import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { openNode, tryOpenNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { readSecret } from '../../terminal/secret.ts';
import type { Terminal } from '../../terminal/index.ts';

/** A manager with a large state, on a slow disk, and a cluster without a leader for a while: all of that fits in. */
const PATIENCE_MS = 90_000;
const LOOK_EVERY_MS = 50;

/** Unlocks the manager of this node, and waits until it is up. */
export async function unlock(place: NodePlace, terminal: Terminal): Promise<void> {
  const node = await openNode(place);
  try {
    if (!(await node.daemon.status({})).locked) {
      throw new TsswarmError('INVALID_INPUT', 'unlocking the node: it is not locked', { hint: 'see "tsswarm status"' });
    }
    await node.daemon.unlock({ key: await readSecret('Unlock key: ') });
  } finally {
    node.close();
  }
  await untilUp(place);
  terminal.out('Node unlocked. Its manager is up again; containers have run on.\n');
}

async function untilUp(place: NodePlace): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline;) {
    const state = await look(place);
    if (state === 'up') return;
    if (state === 'gone') {
      throw new TsswarmError('UNAVAILABLE', 'unlocking the node: the key was right, and the node has ended since', {
        hint: `its log says why: ${place.stateDir}/tsswarmd.log, or journalctl -u tsswarm`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  throw new TsswarmError(
    'DEADLINE_EXCEEDED',
    'unlocking the node: the key was right, but the manager does not come up',
    {
      hint: 'see "tsswarm status" and the log of the node',
    },
  );
}

async function look(place: NodePlace): Promise<'locked' | 'up' | 'gone'> {
  const node = await tryOpenNode(place);
  if (node === undefined) return 'gone';
  try {
    return (await node.daemon.status({})).locked ? 'locked' : 'up';
  } catch (error) {
    // It closes the old connections as it comes up.
    if (isTsswarmError(error, 'UNAVAILABLE')) return 'locked';
    throw error;
  } finally {
    node.close();
  }
}
