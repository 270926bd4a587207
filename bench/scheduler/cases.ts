import { seededRandom } from '../../base/random.ts';
import type { Node, Placement, Service, Task, TaskSpec } from '../../proto/types/index.ts';
import { node, service as newService, task as newTask } from '../../test/builders/objects.ts';
import { taskSpec } from '../../test/builders/specs.ts';

/** A cluster and tasks that wait for a place in it. */
export interface Load {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  /** Each call one more task. */
  readonly oneMore: (i: number) => Task;
  /** What nodes are grouped by where evenness is looked at. */
  readonly groupOf: (node: Node) => string;
}

const GB = 2 ** 30;

/** The loads that are measured: from one large service to as many services as tasks. */
export function cases({ tasks, nodes }: { readonly tasks: number; readonly nodes: number }): readonly Load[] {
  const byId = ({ id }: Node): string => id;
  const byZone = ({ spec }: Node): string => spec.labels['zone'] ?? '';
  return [
    load('one service', { tasks, nodes, services: 1, groupOf: byId }),
    load('300 services, constraint, reservations, two levels of spread', {
      tasks,
      nodes,
      services: Math.min(300, tasks),
      spec: {
        constraints: ['node.labels.disk==ssd'],
        reservations: { nanoCpus: 0.05e9, memoryBytes: 0.1 * GB },
      },
      placement: { spread: ['node.labels.zone', 'node.labels.rack'], maxReplicasPerNode: 2 },
      groupOf: byZone,
    }),
    load('as many services as tasks, reservations', {
      tasks,
      nodes,
      services: tasks,
      spec: { reservations: { nanoCpus: 0.05e9, memoryBytes: 0.1 * GB } },
      groupOf: byId,
    }),
  ];
}

function load(
  name: string,
  options: {
    readonly tasks: number;
    readonly nodes: number;
    readonly services: number;
    readonly spec?: Partial<TaskSpec>;
    readonly placement?: Placement;
    readonly groupOf: Load['groupOf'];
  },
): Load {
  const random = seededRandom(1);
  const nodes = Array.from({ length: options.nodes }, (_, i) =>
    node(
      `node${i}`,
      { zone: `z${i % 3}`, rack: `r${i % 30}`, disk: random.next() < 0.7 ? 'ssd' : 'hdd' },
      { description: { resources: { nanoCpus: 16e9, memoryBytes: 64 * GB } } },
    ),
  );
  const spec = taskSpec({
    networks: [],
    ...options.spec,
    ...(options.placement === undefined ? {} : { placement: options.placement }),
  });
  const services = Array.from({ length: options.services }, (_, i) => newService(`s${i}`, {}, { task: spec }));
  const make = (i: number): Task => {
    const of = services[i % services.length] as Service;
    const id = `task${i}` as Task['id'];
    return Object.freeze(
      newTask(of, Math.floor(i / services.length) + 1, { state: 'pending' }, { id, nodeId: '', spec }),
    );
  };
  return {
    name,
    nodes,
    services,
    tasks: Array.from({ length: options.tasks }, (_, i) => make(i)),
    oneMore: (i) => make(options.tasks + i),
    groupOf: options.groupOf,
  };
}
