import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { explainUnlockKey, untilLocked } from '../autolock.ts';

/** Prints the unlock key, as `docker swarm unlock-key`; `quiet`: the key alone, for scripts. */
export async function unlockKey(
  place: NodePlace,
  options: { readonly quiet?: boolean; readonly rotate?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    if (options.rotate === true) await node.membership.updateCluster({ rotateUnlockKey: true });
    const key = (await node.membership.getUnlockKey({})).unlockKey;
    if (options.rotate === true) await untilLocked(node, key);
    if (options.quiet === true) return terminal.out(`${key}\n`);
    if (options.rotate === true) terminal.out('The unlock key was replaced.\n\n');
    terminal.out(explainUnlockKey(key));
    if (options.rotate === true)
      terminal.out('A manager that is down now still needs the key before: keep that until all have been up.\n');
  } finally {
    node.close();
  }
}
