import { Coalesced } from '../../../base/async.ts';
import { messageOf } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Engine } from '../../../node-engine/types.ts';
import type { Task } from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';
import { portForwards, portKey, portNodes } from '../ports.ts';
import type { TaskController } from '../task/controller.ts';

export interface PortTableOptions {
  readonly nodeId: NodeId;
  readonly networks: Pick<Engine['networks'], 'setPorts'>;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, TaskController>;
  /** Aborts with the agent: nothing is changed any more. */
  readonly life: AbortSignal;
  readonly logger: Logger;
}

/** The node's published ports. */
export interface PortTable {
  /** Brings it up to date; changes that come meanwhile are taken together. Resolves when it has been tried. */
  run(): Promise<void>;
  /** Resolves when nothing is being changed any more. */
  settled(): Promise<void>;
  /** What it was made from last is true in the kernel. */
  readonly holds: boolean;
  /** The task, or the service that it is of, publishes ports. */
  publishes(taskId: string): boolean;
  /** Why a port of the task's service cannot be had; undefined when all can. */
  trouble(task: Task): string | undefined;
}

/** Nothing is published before the first `run`. */
export function createPortTable(options: PortTableOptions): PortTable {
  const { nodeId, networks, assignments: known, controllers, life, logger } = options;
  let troubles: ReadonlyMap<string, string> = new Map();
  let holds = true;
  const table = new Coalesced(async () => {
    if (life.aborted) return;
    const assignments = known();
    const forwards = portForwards({
      nodeId,
      ingress: assignments.ingress.values(),
      tasks: controllers.values(),
      peers: assignments.peers,
      networks: assignments.networks,
    });
    try {
      const failures = await networks.setPorts(forwards, portNodes(nodeId, assignments.peers));
      holds = true;
      troubles = new Map(
        failures.map(({ forward, reason }) => [portKey({ ...forward, published: forward.port }), reason]),
      );
    } catch (error) {
      holds = false;
      logger.error('published ports', { reason: messageOf(error) });
    }
  });
  return {
    run: () => table.run(),
    settled: () => table.settled(),
    get holds() {
      return holds;
    },
    publishes(taskId) {
      const task = controllers.get(taskId)?.task;
      if (task === undefined) return false;
      return (
        task.ports.length > 0 || [...known().ingress.values()].some(({ serviceId }) => serviceId === task.serviceId)
      );
    },
    trouble(task) {
      if (troubles.size === 0) return undefined;
      for (const { port, serviceId } of known().ingress.values()) {
        const reason = troubles.get(portKey(port));
        if (serviceId === task.serviceId && reason !== undefined && !task.oneOff) return reason;
      }
      return undefined;
    },
  };
}
