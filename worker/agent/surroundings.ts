import type { Semaphore } from '../../base/async.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { Assignments } from './assignments.ts';
import type { BindSources } from './bind-sources.ts';
import type { Bridges } from './bridges.ts';
import { isFenced } from './lease/fenced.ts';
import type { LeaseKeeper } from './lease/loop.ts';
import type { AgentOptions } from './loop.ts';
import type { Onlookers } from './onlookers.ts';
import { serves } from './ports.ts';
import type { Reports } from './reports/loop.ts';
import type { VirtualAddresses } from './serving/addresses.ts';
import type { Names } from './serving/names.ts';
import type { PortTable } from './serving/port-table.ts';
import type { TaskController, TaskSurroundings } from './task/controller.ts';

/** The parts of an agent that the controllers of its tasks use. */
export interface AgentParts {
  readonly options: AgentOptions;
  readonly starting: Semaphore;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, TaskController>;
  readonly bridges: Pick<Bridges, 'ensure'>;
  readonly names: Names;
  readonly addresses: VirtualAddresses;
  readonly ports: PortTable;
  readonly reports: Pick<Reports, 'say' | 'hasHeard'>;
  /** Absent: this node says nothing of paths. */
  readonly bindSources?: Pick<BindSources, 'look'>;
  readonly onlookers: Pick<Onlookers, 'tell'>;
  readonly lease: Pick<LeaseKeeper, 'stage' | 'leftMs' | 'mayStart'>;
  /** What was heard of the managers is true still. */
  readonly isUpToDate: () => boolean;
  /** Everything was heard once in this life. */
  readonly wasTold: () => boolean;
}

/** Nobody is led to the container any more, and it resolves no names. */
export async function detachContainer(
  { balancer, resolver }: Pick<AgentOptions, 'balancer' | 'resolver'>,
  containerId: ContainerId,
): Promise<void> {
  balancer.detach(containerId);
  await resolver.detach(containerId);
}

/** What every controller of a task sees of its node; `logger` is the agent's. */
export function taskSurroundings(parts: AgentParts, logger: TaskSurroundings['logger']): TaskSurroundings {
  const { options, assignments, controllers, names, addresses, ports, reports, onlookers, lease } = parts;
  const { engine, balancer, overlay } = options;
  const files = { isLocalPath: (path: string) => engine.isLocalPath?.(path) ?? true };
  /** Whose task was said to serve in the run that it is in. */
  const saidToServe = new WeakSet<TaskController>();
  const updatePorts = (taskId: string): Promise<void> | undefined =>
    ports.publishes(taskId) ? ports.run() : undefined;
  return {
    engine,
    clock: options.clock,
    logger,
    describe: options.describe,
    starting: parts.starting,
    assignments,
    async prepareNetworks(wanted, doubt) {
      for (const { networkId } of wanted.addresses) {
        const network = assignments().networks.get(networkId);
        if (network === undefined) continue;
        await parts.bridges.ensure(network, doubt);
        if (network.spec.driver === 'overlay') await overlay?.connect(network.id);
      }
      await ports.settled();
    },
    portTrouble: (wanted) => ports.trouble(wanted),
    async attachResolver(wanted, containerId, running) {
      if (wanted.spec.networkMode !== 'networks') return;
      const place = {
        containerId,
        netnsPath: options.netnsPath(containerId),
        networks: wanted.addresses.map(({ networkId }) => networkId),
        ...(running === undefined ? {} : { running: true }),
      };
      await Promise.all([
        options.resolver.attach({
          ...place,
          dns: wanted.spec.container.dns,
          ...(wanted.spec.links === undefined ? {} : { links: wanted.spec.links }),
        }),
        balancer.attach({ ...place, fresh: engine.containers.inspect(containerId)?.state === 'created' }),
      ]);
    },
    detachResolver: (id) => detachContainer(options, id),
    isFenced: (wanted) => isFenced(wanted, files),
    fencedMs: () => (lease.stage() === 'held' ? undefined : lease.leftMs()),
    mayStart: () => parts.isUpToDate() && lease.mayStart(),
    hasHeard: (taskId) => reports.hasHeard(taskId),
    mayChange: () => parts.wasTold(),
    report(taskId, next) {
      const served = controllers.get(taskId);
      // A folder that was made for it is its home from now on.
      if (next.containerId !== '' && served?.task.spec.container.mounts.some(({ type }) => type === 'bind') === true)
        parts.bindSources?.look();
      if (served?.leaving === false && serves(next)) names.nameAgain(served.task);
      const say = (): void => {
        reports.say(taskId, next, served?.task);
        onlookers.tell(taskId);
      };
      addresses.updateFor(taskId);
      if (served === undefined || !serves(next)) {
        if (served !== undefined) saidToServe.delete(served);
        return say();
      }
      // Nobody hears that a task serves before its ports and virtual addresses lead to it; from then on they do.
      if (saidToServe.has(served)) return say();
      const ready = [updatePorts(taskId), addresses.has(taskId) ? balancer.settled() : undefined];
      const serve = (): void => {
        saidToServe.add(served);
        say();
      };
      if (ready.every((one) => one === undefined)) return serve();
      void Promise.all(ready).then(() => {
        // What has been said meanwhile is newer.
        if (controllers.get(taskId)?.status === next) serve();
      });
    },
    runningChanged({ id }) {
      const controller = controllers.get(id);
      if (controller !== undefined) saidToServe.delete(controller);
      onlookers.tell(id);
      addresses.updateFor(id);
      if (controllers.get(id)?.task.ports.length !== 0) void ports.run();
    },
    async addressesChanged({ id }) {
      addresses.update();
      for (const other of controllers.values()) if (other.task.networkTask === id) other.refresh();
      await Promise.all([updatePorts(id), balancer.settled()]);
    },
    async withdraw(wanted) {
      names.withdraw(wanted);
      addresses.update();
      await Promise.all([updatePorts(wanted.id), balancer.settled()]);
    },
  };
}
