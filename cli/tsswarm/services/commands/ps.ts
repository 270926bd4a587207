import { TsswarmError, isTsswarmError, messageOf } from '../../../../base/errors.ts';
import { pickNode } from '../../../../manager/cluster/find-node.ts';
import type { Node, Service, Task } from '../../../../proto/types/index.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { renderNodeTasks } from '../../commands/node-ps.ts';
import type { NodeTasksOptions } from '../../commands/node-ps.ts';
import { filterTasks } from '../../nodes/filters.ts';
import { withNode } from '../../nodes/with-node.ts';
import { pickService, taskName } from '../find.ts';

/** `tsswarm service ps`: the tasks of services, those that have ended too. */
export function serviceTasks(
  place: NodePlace,
  names: readonly string[],
  options: NodeTasksOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const [{ services, tasks }, { nodes }] = await Promise.all([
      node.control.listObjects({ project: '' }),
      node.control.listNodes({}),
    ]);
    const missing: string[] = [];
    const chosen = names.flatMap((name) => {
      try {
        return [pickService(services, name)];
      } catch (error) {
        if (!isTsswarmError(error, 'NOT_FOUND')) throw error;
        missing.push(messageOf(error));
        return [];
      }
    });
    if (chosen.length > 0) terminal.out(renderServiceTasks(chosen, tasks, nodes, Date.now(), options));
    if (missing.length > 0) throw new TsswarmError('NOT_FOUND', missing.join('; '), { hint: 'see tsswarm service ls' });
  });
}

/** Those that had its slot before, too, with the image that they had. */
function withPast(task: Task): readonly Task[] {
  const before = (task.past ?? []).map(
    ({ id, image, nodeId, state, error, timestamp, createdAt, specVersion }): Task => {
      const { changing: _changing, refused: _refused, past: _past, ...slot } = task;
      return {
        ...slot,
        id,
        nodeId,
        specVersion,
        desiredState: 'shutdown',
        meta: { ...task.meta, createdAt },
        spec: { ...task.spec, container: { ...task.spec.container, image } },
        status: {
          state,
          timestamp,
          error,
          message: '',
          containerId: '',
          pid: 0,
          oomKilled: false,
          health: 'none',
          imageDigest: '',
          restartCount: 0,
        },
        ports: [],
      };
    },
  );
  return [task, ...before];
}

/** As `docker service ps`. @param now wall time, ms */
export function renderServiceTasks(
  services: readonly Service[],
  tasks: readonly Task[],
  nodes: readonly Node[],
  now: number,
  options: NodeTasksOptions,
): string {
  const byId = new Map<string, Service>(services.map((service) => [service.id, service]));
  const nameOf = (task: Task): string => taskName(task, byId.get(task.serviceId));
  const nodeIdOf = (name: string): string => pickNode(nodes, name).id;
  const own = tasks.filter((task) => byId.has(task.serviceId) && task.status.state !== 'remove').flatMap(withPast);
  return renderNodeTasks(filterTasks(own, options.filter ?? [], nodeIdOf, nameOf), nodes, now, options, nameOf);
}
