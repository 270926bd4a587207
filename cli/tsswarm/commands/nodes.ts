import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderTable } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import type { ManagerMember, Node } from '../../../proto/types/index.ts';

/** Lists the nodes of the cluster. */
export async function nodes(
  place: NodePlace,
  options: { readonly quiet?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    const [{ nodes: all }, { managers }, { nodeId }] = await Promise.all([
      node.control.listNodes({}),
      node.membership.listManagers({}),
      node.daemon.status({}),
    ]);
    if (options.quiet === true) for (const { id } of all) terminal.out(`${id}\n`);
    else terminal.out(renderNodes(all, managers, nodeId));
  } finally {
    node.close();
  }
}

/**
 * As `docker node ls`.
 * @param ownId the node that was asked: it is marked
 */
export function renderNodes(all: readonly Node[], managers: readonly ManagerMember[], ownId: string): string {
  return renderTable(
    ['ID', 'HOSTNAME', 'STATUS', 'AVAILABILITY', 'MANAGER STATUS', 'ENGINE VERSION'],
    all.map(({ id, description, status, spec }) => [
      id === ownId ? `${id} *` : id,
      description.hostname,
      capital(status.state),
      capital(spec.availability),
      managerStatus(managers.find(({ nodeId }) => nodeId === id)),
      description.engine.version,
    ]),
  );
}

function managerStatus(member: ManagerMember | undefined): string {
  if (member === undefined) return '';
  if (member.leader) return 'Leader';
  return member.reachable ? 'Reachable' : 'Unreachable';
}

const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);
