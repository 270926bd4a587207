import { systemRandom } from '../../../base/random.ts';
import { newUnlockKey } from '../../../manager/raft/seal/index.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { changeKey, explainUnlockKey } from '../autolock.ts';

/** Prints the unlock key, as `docker swarm unlock-key`; `quiet`: the key alone, for scripts. */
export async function unlockKey(
  place: NodePlace,
  options: { readonly quiet?: boolean; readonly rotate?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    const present = (await node.membership.getUnlockKey({})).unlockKey;
    const key = options.rotate === true ? newUnlockKey(systemRandom) : present;
    terminal.out(options.quiet === true ? `${key}\n` : explainUnlockKey(key));
    if (options.rotate !== true) return;
    await changeKey(node, { unlockKey: key }, terminal);
    if (options.quiet === true) return;
    terminal.out(
      'The unlock key was replaced. A manager that is down now needs the one before, until it has been up.\n',
    );
  } finally {
    node.close();
  }
}
