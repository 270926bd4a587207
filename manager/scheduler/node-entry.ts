import type { GenericResource, Node, PublishedPort, Task } from '../../proto/types/index.ts';
import { PortBook, choosePort, portsClash } from '../model/ports.ts';
import { isLive } from '../model/task-state.ts';
import { GenericStock } from './generic.ts';

/** Tasks that are spread evenly among themselves: those of one service and one version of its spec. */
export const peersKey = (task: Pick<Task, 'serviceId' | 'specVersion'>): string =>
  `${task.serviceId}/${task.specVersion}`;

/** A node and what is reserved, published and run there. */
export class NodeEntry {
  #node: Node;
  #images: ReadonlySet<string> | undefined;
  /** Place among the nodes, oldest first: decides where nothing else does. */
  readonly order: number;
  nanoCpus = 0;
  memoryBytes = 0;
  /** Tasks that have not ended, of all services. */
  tasks = 0;
  /** The scarcer one of CPU and memory: the share that is reserved. */
  reservedShare = 0;
  /** Resources of the node's own kinds that are set aside. */
  #generic = new GenericStock();
  /** Live replicas by service, of every version of its spec. */
  readonly #replicas = new Map<string, number>();
  readonly #ports: { readonly port: PublishedPort; readonly owner: string }[] = [];

  constructor(node: Node, order: number) {
    this.#node = node;
    this.order = order;
  }

  get node(): Node {
    return this.#node;
  }

  set node(node: Node) {
    if (node.images !== this.#node.images) this.#images = undefined;
    this.#node = node;
  }

  /** Whether it has the image with that key, as far as it has said. */
  hasImage(key: string): boolean {
    this.#images ??= new Set(this.#node.images);
    return this.#images.has(key);
  }

  /** Counts a task that has this node and has not ended; its reservations are held until it has. */
  add(task: Task): void {
    this.#count(task, 1);
    for (const port of task.ports) this.#ports.push({ port, owner: ownerName(task) });
  }

  /** Takes back what {@link add} counted. */
  subtract(task: Task): void {
    this.#count(task, -1);
    for (const port of task.ports) {
      const owner = ownerName(task);
      const at = this.#ports.findIndex((other) => other.owner === owner && portsClash(other.port, port));
      if (at >= 0) this.#ports.splice(at, 1);
    }
  }

  /** The node as it will be when `tasks` have ended. */
  without(tasks: readonly Task[]): NodeEntry {
    const copy = new NodeEntry(this.node, this.order);
    copy.nanoCpus = this.nanoCpus;
    copy.memoryBytes = this.memoryBytes;
    copy.tasks = this.tasks;
    for (const [key, count] of this.#replicas) copy.#replicas.set(key, count);
    copy.#ports.push(...this.#ports);
    copy.#generic = this.#generic.copy();
    for (const task of tasks) copy.subtract(task);
    return copy;
  }

  replicasOf(serviceId: string): number {
    return this.#replicas.get(serviceId) ?? 0;
  }

  /** What of the node's own kinds a task would get; undefined: not all that it asks for is left. */
  assign(wishes: readonly GenericResource[]): readonly GenericResource[] | undefined {
    const assigned = wishes.flatMap((wish) => this.#generic.assign(wish, this.node) ?? []);
    return assigned.length === wishes.length ? assigned : undefined;
  }

  /** Who has a port, or one that is in its way; undefined: nobody. */
  publisherOf(port: PublishedPort): string | undefined {
    return this.#ports.find((other) => portsClash(other.port, port))?.owner;
  }

  /**
   * The ports with numbers that are free here, and that `reserved` leaves; undefined: not all are.
   * @param preferred numbers that are taken before others
   */
  choosePorts(
    wanted: readonly PublishedPort[],
    reserved: PortBook,
    preferred: readonly PublishedPort[] = [],
  ): readonly PublishedPort[] | undefined {
    const mine = new PortBook();
    // Those that are named are nobody's choice.
    for (const port of wanted) mine.add(port);
    const isTaken = (port: PublishedPort): boolean =>
      mine.has(port) || reserved.has(port) || this.publisherOf(port) !== undefined;
    const chosen: PublishedPort[] = [];
    for (const wish of wanted) {
      const port = choosePort(wish, isTaken, preferred);
      if (port === undefined || this.publisherOf(port) !== undefined) return undefined;
      mine.add(port);
      chosen.push(port);
    }
    return chosen;
  }

  /** Who has the ports of a range. */
  publishersOf(
    { published: _, publishedEnd: __, ...wanted }: PublishedPort,
    numbers: readonly [number, number],
  ): readonly string[] {
    const owners = this.#ports.filter(
      ({ port }) =>
        numbers[0] <= port.published &&
        port.published <= numbers[1] &&
        portsClash(port, { ...wanted, published: port.published }),
    );
    return [...new Set(owners.map(({ owner }) => owner))];
  }

  #count(task: Task, sign: 1 | -1): void {
    this.nanoCpus += sign * (task.spec.reservations.nanoCpus ?? 0);
    this.memoryBytes += sign * (task.spec.reservations.memoryBytes ?? 0);
    if (task.generic !== undefined) this.#generic.count(task.generic, sign);
    this.tasks += sign;
    const { nanoCpus, memoryBytes } = this.node.description.resources;
    this.reservedShare = Math.max(this.nanoCpus / Math.max(1, nanoCpus), this.memoryBytes / Math.max(1, memoryBytes));
    if (isReplica(task)) increase(this.#replicas, task.serviceId, sign);
  }
}

/** What all tasks of a service are called: "shop-web" of "shop-web-1". */
const ownerName = ({ name, slot }: Task): string =>
  name.endsWith(`-${slot}`) ? name.slice(0, -1 - String(slot).length) : name;

/** One that is on its way out makes room; one that was started by hand is no replica. */
export const isReplica = (task: Task): boolean => !task.oneOff && isLive(task);

/** Counts up or down; what is 0 is left out. */
export function increase<K>(counts: Map<K, number>, key: K, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
