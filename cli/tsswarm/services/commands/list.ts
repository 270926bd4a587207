import type { NodePlace } from '../../../local-node/index.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { withNode } from '../../nodes/with-node.ts';
import { filterServices } from '../filters.ts';
import { renderServices } from '../list.ts';
import type { ServiceListOptions } from '../list.ts';

/** `tsswarm service ls`: those of stacks and those of none. */
export function listServices(place: NodePlace, options: ServiceListOptions, terminal: Terminal): Promise<void> {
  return withNode(place, async (node) => {
    const { services, tasks } = await node.control.listObjects({ project: '' });
    terminal.out(renderServices(filterServices(services, options.filter ?? []), tasks, options));
  });
}
