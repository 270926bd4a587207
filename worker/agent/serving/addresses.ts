import type { NodeId } from '../../../base/ids.ts';
import type { Assignments } from '../assignments.ts';
import type { BalancedAddress } from '../balanced.ts';
import { balancedAddresses } from '../balanced.ts';
import type { Balancer } from '../networking.ts';
import { serves } from '../ports.ts';
import type { TaskController } from '../task/controller.ts';

export interface VirtualAddressesOptions {
  readonly nodeId: NodeId;
  readonly balancer: Pick<Balancer, 'setAddresses'>;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, TaskController>;
  /** Aborts with the agent: nothing is changed any more. */
  readonly life: AbortSignal;
}

/** Has virtual addresses lead to what serves. */
export interface VirtualAddresses {
  update(): void;
  /** The same after news of one own task: most of them, on the way to its start, change nothing for others. */
  updateFor(taskId: string): void;
  /** A task that is not assigned any more. */
  forget(taskId: string): void;
  /** The task's service has such an address. */
  has(taskId: string): boolean;
}

/** Tells the balancer whenever what it shall do has changed. */
export function createVirtualAddresses(options: VirtualAddressesOptions): VirtualAddresses {
  const { nodeId, balancer, assignments: known, controllers, life } = options;
  let balanced: readonly BalancedAddress[] = [];
  /** Own tasks that served when they were looked at last. */
  const serving = new Set<string>();
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
      },
      balanced,
    );
    if (now.length === balanced.length && now.every((one, index) => isSameAddress(one, balanced[index]))) return;
    balanced = now;
    balancer.setAddresses(now);
  };
  return {
    update,
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
