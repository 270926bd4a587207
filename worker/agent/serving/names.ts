import type { NodeId, TaskId } from '../../../base/ids.ts';
import type { AssignmentChange, NetworkEndpoint, Task } from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';
import { endpointKey, serviceAddressKey } from '../assignments.ts';
import { isLocalOnly } from '../balanced.ts';
import type { Resolver } from '../networking.ts';
import type { TaskController } from '../task/controller.ts';

export interface NamesOptions {
  readonly nodeId: NodeId;
  readonly resolver: Pick<Resolver, 'changeNames'>;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, Pick<TaskController, 'leaving'>>;
}

/** Tells the resolver of the node which names there are. */
export interface Names {
  /** What a message of the manager says. Of one that has waited only what no later one has changed. */
  change(change: Pick<AssignmentChange, 'kind' | 'update' | 'remove'>): void;
  /** What is gone since `before` is not named any more, whatever else is waited for. */
  dropGone(before: Assignments): void;
  /** Of a task that has come back in place: the managers may never have heard that it was away. */
  nameAgain(task: Task): void;
  /** Of a task that is about to be stopped. */
  withdraw(task: Task): void;
}

/** Names lead to what serves, but not to what is being stopped here, or is on another node's own network of that name. */
export function createNames({ nodeId: ownId, resolver, assignments: known, controllers }: NamesOptions): Names {
  const endpointKeys = ({ id, addresses }: Task): readonly string[] =>
    addresses.map(({ networkId }) => endpointKey({ taskId: id as TaskId, networkId }));
  return {
    change({ kind, update, remove }) {
      const assignments = known();
      const isHidden = ({ taskId, nodeId, networkId }: NetworkEndpoint): boolean =>
        controllers.get(taskId)?.leaving === true ||
        (nodeId !== ownId && isLocalOnly(assignments.networks.get(networkId)));
      const complete = kind === 'complete';
      const endpoints = complete
        ? [...assignments.endpoints.values()]
        : update.endpoints.filter((one) => assignments.endpoints.get(endpointKey(one)) === one);
      const services = complete
        ? [...assignments.services.values()]
        : update.services.filter((one) => assignments.services.get(serviceAddressKey(one)) === one);
      const hidden = endpoints.filter(isHidden);
      resolver.changeNames({
        complete,
        endpoints: hidden.length === 0 ? endpoints : endpoints.filter((one) => !isHidden(one)),
        services,
        removedEndpoints: [
          ...remove.endpoints.filter((key) => !assignments.endpoints.has(key)),
          ...hidden.map(endpointKey),
        ],
        removedServices: remove.services.filter((key) => !assignments.services.has(key)),
      });
    },
    dropGone(before) {
      const gone = (old: ReadonlyMap<string, unknown>, now: ReadonlyMap<string, unknown>): readonly string[] =>
        old === now ? [] : [...old.keys()].filter((key) => !now.has(key));
      const removedEndpoints = gone(before.endpoints, known().endpoints);
      const removedServices = gone(before.services, known().services);
      if (removedEndpoints.length + removedServices.length > 0)
        resolver.changeNames({ removedEndpoints, removedServices });
    },
    nameAgain(task) {
      const endpoints = endpointKeys(task).flatMap((key) => known().endpoints.get(key) ?? []);
      if (endpoints.length > 0) resolver.changeNames({ endpoints });
    },
    withdraw: (task) => resolver.changeNames({ removedEndpoints: endpointKeys(task) }),
  };
}
