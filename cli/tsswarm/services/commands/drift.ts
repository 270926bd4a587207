import type { Task } from '../../../../proto/types/index.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import { driftsOf } from '../../../local-node/drifts.ts';
import { renderDrifts } from '../../../render/drifts.ts';
import type { Terminal } from '../../../terminal/index.ts';
import type { NodeTasksOptions } from '../../commands/node-ps.ts';
import { filterTasks } from '../../nodes/filters.ts';
import { withNode } from '../../nodes/with-node.ts';
import { byName } from '../../nodes/words.ts';
import { pickNode } from '../../../../manager/cluster/find-node.ts';
import { pickService, taskName } from '../find.ts';

/** `tsswarm service ps --drift`: what somebody has changed by hand on the containers of services. */
export function serviceDrifts(
  place: NodePlace,
  names: readonly string[],
  { filter = [], format, trunc, resolve }: NodeTasksOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const [{ services, tasks }, { nodes }] = await Promise.all([
      node.control.listObjects({ project: '' }),
      node.control.listNodes({}),
    ]);
    const byId = new Map<string, (typeof services)[number]>(
      names.map((name) => pickService(services, name)).map((service) => [service.id, service]),
    );
    const nameOf = (task: Task): string => taskName(task, byId.get(task.serviceId));
    const nodeIdOf = (name: string): string => pickNode(nodes, name).id;
    const own = tasks.filter(({ serviceId }) => byId.has(serviceId));
    const shown = filterTasks(own, filter, nodeIdOf, nameOf).toSorted((a, b) => byName(nameOf(a), nameOf(b)));
    const hostnames = new Map(nodes.map(({ id, description }) => [id as string, description.hostname]));
    const nodeName = (id: string): string => (resolve ? (hostnames.get(id) ?? id) : id);
    const { drifts, unreachable } = await driftsOf(node, shown);
    for (const { nodeId, reason } of unreachable)
      terminal.err(`warning: node "${nodeName(nodeId)}" was not asked, this is what it said last: ${reason}\n`);
    const rows = shown.flatMap((task) =>
      (drifts.get(task.id) ?? []).map((drift) => ({ task: nameOf(task), node: nodeName(task.nodeId), drift })),
    );
    terminal.out(renderDrifts(rows, Date.now(), format, trunc));
  });
}
