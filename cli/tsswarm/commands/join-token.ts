import { TsswarmError } from '../../../base/errors.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';

/** Prints the token of a role, alone on its line: it is made for scripts. */
export async function joinToken(place: NodePlace, role: string, terminal: Terminal): Promise<void> {
  if (role !== 'worker' && role !== 'manager') {
    throw new TsswarmError('INVALID_INPUT', `reading the join token of "${role}": expected "worker" or "manager"`);
  }
  const node = await openNode(place);
  try {
    const { cluster } = await node.control.getCluster({});
    terminal.out(`${cluster.joinTokens[role]}\n`);
    terminal.err('note: joining is not in this version yet: for now the cluster is this one machine\n');
  } finally {
    node.close();
  }
}
