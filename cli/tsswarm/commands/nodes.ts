import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { formatMemory, renderTable } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import type { Node } from '../../../proto/types/index.ts';

/** Lists the nodes of the cluster. */
export async function nodes(
  place: NodePlace,
  options: { readonly quiet?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  try {
    const [{ nodes: all }, { nodeId }] = await Promise.all([node.control.listNodes({}), node.daemon.status({})]);
    if (options.quiet === true) for (const { id } of all) terminal.out(`${id}\n`);
    else terminal.out(renderNodes(all, nodeId));
  } finally {
    node.close();
  }
}

/** @param ownId the node that was asked: it is marked */
export function renderNodes(all: readonly Node[], ownId: string): string {
  return renderTable(
    ['ID', 'HOSTNAME', 'STATUS', 'AVAILABILITY', 'ROLE', 'CPUS', 'MEMORY', 'ENGINE'],
    all.map(({ id, description, status, spec }) => [
      id === ownId ? `${id} *` : id,
      description.hostname,
      status.state + (status.message === '' ? '' : ` (${status.message})`),
      spec.availability,
      spec.role,
      String(description.resources.nanoCpus / 1e9),
      formatMemory(description.resources.memoryBytes),
      description.engine.version,
    ]),
  );
}
