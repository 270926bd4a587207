import { imageKey } from '../../base/image-key.ts';
import { parseSpread } from '../../base/constraint.ts';
import type { SpreadLabel } from '../../base/constraint.ts';
import { isOpenPort, numberWords } from '../../base/published-port.ts';
import type { GenericResource, PublishedPort, Service, Task } from '../../proto/types/index.ts';
import { OPTIONAL_DRIVERS } from '../../base/network-driver.ts';
import { nodeTest } from '../model/constraints.ts';
import type { NodeTest } from '../model/constraints.ts';
import { peersKey } from './node-entry.ts';
import { PortBook } from '../model/ports.ts';
import { placesOf } from '../model/volumes.ts';

const NO_PORTS = new PortBook();

/** What tasks of one kind ask of a node. */
export interface Demand {
  readonly serviceId: string;
  readonly peersKey: string;
  readonly tests: readonly NodeTest[];
  /** The same for equal constraints and drivers. */
  readonly testsKey: string;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly generic: readonly GenericResource[];
  readonly ports: readonly PublishedPort[];
  /** What is not chosen for it, on any node: ports that every node answers on, and those that others have named. */
  readonly reservedPorts: PortBook;
  /** 0: any number. */
  readonly maxReplicasPerNode: number;
  readonly spread: readonly SpreadLabel[];
  /** What ties it to nodes: volumes and paths. */
  readonly places: readonly string[];
  /** What ties those to nodes that will share its network: they go where it is. */
  readonly sharersPlaces: readonly string[];
  /** Drivers of its networks that not every kernel has. */
  readonly drivers: readonly string[];
  /** Of its image; empty: the reference is none. */
  readonly imageKey: string;
}

/** Tasks with the same key ask for the same: they are placed together. */
export function demandKey(task: Task): string {
  const own = task.oneOff ? `/${task.id}` : '';
  // Tasks that share the network of others go where these are.
  const bound = task.boundNode ?? task.networkTask;
  const node = bound === undefined ? '' : `@${bound}`;
  const ports = task.ports.map((port) => `;${port.hostIp}:${numberWords(port)}/${port.protocol}`).join('');
  // Names of volumes and paths may be templates: other slots, other volumes.
  return `${peersKey(task)}${own}${node}${ports}|${placesOf(task).join('|')}`;
}

/**
 * @param service as it is now: how tasks are spread may change without them, also for those that wait already
 * @param sharers services whose tasks share the network of the service's: they go where these are
 * @param driverOf of the network of a name
 * @param reservedPorts what services publish: asked for where the task has a port to choose
 */
export function demandOf(
  task: Task,
  service: Service | undefined,
  sharers: readonly Service[],
  driverOf: (network: string) => string | undefined,
  reservedPorts: () => PortBook,
): Demand {
  const { constraints, reservations } = task.spec;
  const drivers = driversOf(task, driverOf);
  const placement = task.oneOff ? undefined : (service?.spec.task ?? task.spec).placement;
  return {
    serviceId: task.serviceId,
    peersKey: peersKey(task),
    tests: constraints.map(nodeTest),
    testsKey: [...constraints, ...drivers].join('\n'),
    nanoCpus: reservations.nanoCpus ?? 0,
    memoryBytes: reservations.memoryBytes ?? 0,
    generic: reservations.generic ?? [],
    ports: task.ports,
    reservedPorts: task.ports.some(isOpenPort) ? reservedPorts() : NO_PORTS,
    maxReplicasPerNode: placement?.maxReplicasPerNode ?? 0,
    spread: (placement?.spread ?? []).map(parseSpread).filter((label) => typeof label !== 'string'),
    places: placesOf(task),
    sharersPlaces: task.oneOff ? [] : sharers.flatMap(({ spec }) => placesOf({ spec: spec.task })),
    drivers,
    imageKey: imageKey(task.spec.container.image) ?? '',
  };
}

function driversOf({ spec }: Task, driverOf: (network: string) => string | undefined): readonly string[] {
  if (spec.networkMode !== 'networks') return [];
  const used = new Set(spec.networks.map(({ network }) => driverOf(network)));
  return OPTIONAL_DRIVERS.filter((driver) => used.has(driver));
}
