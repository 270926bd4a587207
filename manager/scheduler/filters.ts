import type { Node, Task } from '../../proto/types/index.ts';
import { matchesConstraint } from './constraints.ts';

/** What is reserved and published on a node, and how much runs there. */
export interface NodeLoad {
  readonly node: Node;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly tasks: number;
  readonly tasksByService: ReadonlyMap<string, number>;
  readonly hostPorts: ReadonlySet<string>;
}

/** A rule that a node must pass: whether it concerns the task, whether the node passes, and what to say if not. */
export interface Filter {
  readonly applies: (task: Task) => boolean;
  readonly passes: (task: Task, load: NodeLoad) => boolean;
  /** Continues "2 nodes …". */
  readonly reason: (task: Task) => string;
}

const MIB = 1024 * 1024;

/** All filters, in the order of explanation. */
export const FILTERS: readonly Filter[] = [
  {
    applies: () => true,
    passes: (_, { node }) => node.status.state === 'ready',
    reason: () => 'not ready',
  },
  {
    applies: () => true,
    passes: (_, { node }) => node.spec.availability === 'active',
    reason: () => 'not available for new tasks',
  },
  {
    applies: (task) => task.spec.constraints.length > 0,
    passes: (task, { node }) => task.spec.constraints.every((constraint) => matchesConstraint(constraint, node)),
    reason: (task) => `without a match for ${task.spec.constraints.join(', ')}`,
  },
  {
    applies: (task) => (task.spec.reservations.nanoCpus ?? 0) > 0,
    passes: (task, load) =>
      load.node.description.resources.nanoCpus - load.nanoCpus >= (task.spec.reservations.nanoCpus ?? 0),
    reason: (task) => `lacking ${(task.spec.reservations.nanoCpus ?? 0) / 1e9} free CPUs`,
  },
  {
    applies: (task) => (task.spec.reservations.memoryBytes ?? 0) > 0,
    passes: (task, load) =>
      load.node.description.resources.memoryBytes - load.memoryBytes >= (task.spec.reservations.memoryBytes ?? 0),
    reason: (task) => `lacking ${Math.ceil((task.spec.reservations.memoryBytes ?? 0) / MIB)} MiB of free memory`,
  },
  {
    applies: (task) => task.ports.length > 0,
    passes: (task, load) => task.ports.every((port) => !load.hostPorts.has(`${port.protocol}/${port.published}`)),
    reason: (task) => `with host port ${task.ports.map(({ published }) => published).join(', ')} in use`,
  },
];
