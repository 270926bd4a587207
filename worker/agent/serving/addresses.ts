import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Assignments } from '../assignments.ts';
import type { BalancedAddress } from '../balanced.ts';
import { balancedAddresses } from '../balanced.ts';
import type { Balancer, Overlay } from '../networking.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import { serves } from '../ports.ts';
import type { TaskController } from '../task/controller.ts';

/** The way to another node is made within a few milliseconds; who cannot be reached is led to all the same. */
const LONGEST_WAY_MS = 500;

export interface VirtualAddressesOptions {
  readonly nodeId: NodeId;
  readonly balancer: Pick<Balancer, 'setAddresses'>;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, TaskController>;
  /** Absent: there are no other nodes. */
  readonly overlay?: Pick<Overlay, 'settled'>;
  readonly clock: Clock;
  /** Aborts with the agent: nothing is changed any more. */
  readonly life: AbortSignal;
}

/** Has virtual addresses lead to what serves. */
export interface VirtualAddresses {
  update(): void;
  /** The same after a message, whose ways to other nodes are being made: who comes with it is led to when they are there. */
  follow(before: Assignments): void;
  /** The same after news of one own task: most of them, on the way to its start, change nothing for others. */
  updateFor(taskId: string): void;
  /** A task that is not assigned any more. */
  forget(taskId: string): void;
  /** The task's service has such an address. */
  has(taskId: string): boolean;
}

/** Tells the balancer whenever what it shall do has changed. */
export function createVirtualAddresses(options: VirtualAddressesOptions): VirtualAddresses {
  const { nodeId, balancer, assignments: known, controllers, overlay, clock, life } = options;
  let balanced: readonly BalancedAddress[] = [];
  /** Own tasks that served when they were looked at last. */
  const serving = new Set<string>();
  const arriving = new Set<string>();
  const update = (): void => {
    const assignments = known();
    if (assignments.services.size + balanced.length === 0 || life.aborted) return;
    const now = balancedAddresses(
      {
        nodeId,
        services: assignments.services.values(),
        endpoints: assignments.endpoints.values(),
        networks: assignments.networks,
        tasks: controllers.values(),
        arriving,
      },
      balanced,
    );
    if (now.length === balanced.length && now.every((one, index) => isSameAddress(one, balanced[index]))) return;
    balanced = now;
    balancer.setAddresses(now);
  };
  const arrive = (taskIds: readonly string[], way: Promise<void>): void => {
    for (const taskId of taskIds) arriving.add(taskId);
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      for (const taskId of taskIds) arriving.delete(taskId);
      update();
    };
    const timer = clock.startTimer(LONGEST_WAY_MS, end);
    void way.then(end);
  };
  return {
    update,
    follow(before) {
      const { endpoints } = known();
      const way = overlay?.settled();
      if (way !== undefined && endpoints !== before.endpoints) {
        const isNew = ([key, endpoint]: readonly [string, NetworkEndpoint]): boolean =>
          endpoint.nodeId !== nodeId && !before.endpoints.has(key);
        const newcomers = [...endpoints].filter(isNew).map(([, { taskId }]) => taskId);
        if (newcomers.length > 0) arrive(newcomers, way);
      }
      update();
    },
    updateFor(taskId) {
      const controller = controllers.get(taskId);
      const isServing = controller?.running === true && serves(controller.status);
      if (isServing === serving.has(taskId)) return;
      if (isServing) serving.add(taskId);
      else serving.delete(taskId);
      update();
    },
    forget: (taskId) => void serving.delete(taskId),
    has(taskId) {
      const serviceId = controllers.get(taskId)?.task.serviceId;
      return [...known().services.values()].some((service) => service.serviceId === serviceId);
    },
  };
}

const isSameAddress = (a: BalancedAddress, b: BalancedAddress | undefined): boolean =>
  a.address === b?.address && a.endpoints === b.endpoints && a.affinity === b.affinity && a.networkId === b.networkId;
