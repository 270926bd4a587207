import { TsswarmError } from '../../../base/errors.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';

/** Prints how to join with a role, as `docker swarm join-token`; `quiet`: the token alone, for scripts. */
export async function joinToken(
  place: NodePlace,
  role: string,
  options: { readonly quiet?: boolean; readonly rotate?: boolean },
  terminal: Terminal,
): Promise<void> {
  if (role !== 'worker' && role !== 'manager') {
    throw new TsswarmError('INVALID_INPUT', `reading the join token of "${role}": expected "worker" or "manager"`);
  }
  const node = await openNode(place);
  try {
    const rotated = options.rotate === true ? (await node.membership.rotateJoinToken({ role })).token : undefined;
    const token = rotated ?? (await node.control.getCluster({})).cluster.joinTokens[role];
    if (options.quiet === true) return terminal.out(`${token}\n`);
    const [{ managers }, { nodeId }] = await Promise.all([node.membership.listManagers({}), node.daemon.status({})]);
    const address = managers.find((manager) => manager.nodeId === nodeId)?.address ?? '';
    if (rotated !== undefined) terminal.out(`Successfully rotated ${role} join token.\n\n`);
    terminal.out(`To add a ${role} to this swarm, run the following command:

    tsswarm join --token ${token} ${address}

`);
  } finally {
    node.close();
  }
}
