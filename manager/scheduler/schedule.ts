import type { NodeId } from '../../base/ids.ts';
import { isOpenPort } from '../../base/published-port.ts';
import { TemplateFault } from '../../base/template/index.ts';
import type { Node, PublishedPort, Service, Task, Volume, VolumeSpec } from '../../proto/types/index.ts';
import { hasToSay, holdersOf, isBindSource } from '../model/bind-sources.ts';
import { PortBook } from '../model/ports.ts';
import { expandOnNode } from '../model/templates.ts';
import { mayRun } from '../model/task-state.ts';
import { demandOf } from './demand.ts';
import type { Demand } from './demand.ts';
import { eachDifference } from './difference.ts';
import { explain } from './explain.ts';
import type { Homes } from './explain.ts';
import { Failures } from './failures.ts';
import { ROOM, STANDING, applying, passesAll } from './filters.ts';
import type { Filter } from './filters.ts';
import type { NodeEntry } from './node-entry.ts';
import { NodeIndex } from './node-index.ts';
import type { WaitingGroup } from './node-index.ts';
import { SpreadTree, lightest } from './spread.ts';
import { madeItsVolumes, namedVolumesOf } from '../model/volumes.ts';

/** What the scheduler sees of the store. Objects are frozen: a changed one is another one. */
export interface SchedulerView {
  readonly nodes: readonly Node[];
  /** Oldest first. */
  readonly tasks: readonly Task[];
  readonly service: (id: Service['id']) => Service | undefined;
  /** The driver of the network of that full name. */
  readonly driverOf: (network: string) => string | undefined;
  /** The volume of that full name. */
  readonly volume: (name: string) => Volume | undefined;
  readonly tasksOf: (id: Service['id']) => readonly Task[];
  /** Services whose tasks share the network of a service's. */
  readonly sharersOf: (service: Service) => readonly Service[];
  /** Ports of all services. */
  readonly servicePorts: () => readonly PublishedPort[];
}

export interface Decision {
  /** Tasks with their node, or with why there is none. */
  readonly tasks: readonly Task[];
  /** Volumes that were found on a node. */
  readonly volumes: readonly Volume[];
  /** Volumes whose names only the tasks that were placed have told. */
  readonly newVolumes: readonly NewVolume[];
}

export interface NewVolume {
  readonly spec: VolumeSpec;
  readonly projectId: Volume['projectId'];
}

/** One run for tasks that ask for the same. */
interface Run {
  readonly demand: Demand;
  /** Wall time, ms. */
  readonly now: number;
  readonly homes: Homes;
  /** Whether it goes where those can follow that will share its network. */
  readonly nearSharers: boolean;
  readonly standing: readonly Filter[];
  readonly room: readonly Filter[];
  /** `as`: the node as it will be when what leaves it has left. */
  readonly place: (task: Task, entry: NodeEntry, as?: NodeEntry) => void;
  /** As much was decided as one look may. */
  readonly isFull: () => boolean;
}

/**
 * Gives waiting tasks their nodes. It remembers what it saw: the next look costs what has changed since. Nothing but what the
 * store shows is believed: a decision that was not written is forgotten at the next look.
 */
export class Scheduler {
  readonly #index = new NodeIndex();
  readonly #failures = new Failures();
  #nodes: readonly Node[] = [];
  #tasks: readonly Task[] = [];
  /** What was decided last, as the store had it before. */
  readonly #decided = new Map<string, Task>();
  /** Volumes that were found on a node and whose object may not say so yet. */
  readonly #found = new Map<string, Set<NodeId>>();
  /** Volumes whose node may have made them without having said so yet, as the objects may not say yet. */
  readonly #assigned = new Map<string, Set<NodeId>>();

  /**
   * Of the nodes that pass all filters a task gets the one that its preferences name, then the one with the fewest tasks of
   * its service, then the fewest tasks. A task in a slot that ran on a node before goes back there: its data is there.
   * @param now wall time, ms
   * @param limit decide on at most so many tasks; the others are left for the next look
   */
  decide(view: SchedulerView, now: number, limit = Infinity): Decision {
    this.#takeOver(view);
    const changed: Task[] = [];
    for (const [key, group] of this.#index.waiting) {
      if (changed.length >= limit) break;
      if (group.settledAt === this.#index.freed) continue;
      this.#decideGroup(key, group, view, { now, limit, changed });
    }
    return { tasks: changed, volumes: this.#volumesFound(view), newVolumes: volumesNamedBy(changed, view) };
  }

  #takeOver(view: SchedulerView): void {
    const index = this.#index;
    eachDifference(this.#nodes, view.nodes, (node) => index.putNode(node), (id) => index.removeNode(id)); // prettier-ignore
    const put = (task: Task): void => {
      if (index.task(task.id)?.status.state !== task.status.state) this.#failures.note(task);
      index.putTask(task);
      this.#decided.delete(task.id);
      if (task.nodeId === '' || task.status.state === 'remove') return;
      const noted = madeItsVolumes(task) ? this.#found : this.#assigned;
      for (const name of namedVolumesOf(task)) {
        const nodes = noted.get(name) ?? new Set();
        noted.set(name, nodes.add(task.nodeId));
      }
    };
    const remove = (id: string): void => {
      index.removeTask(id);
      this.#decided.delete(id);
    };
    eachDifference(this.#tasks, view.tasks, put, remove);
    for (const task of this.#decided.values()) index.putTask(task);
    this.#decided.clear();
    this.#nodes = view.nodes;
    this.#tasks = view.tasks;
  }

  #decideGroup(
    key: string,
    group: WaitingGroup,
    view: SchedulerView,
    { now, limit, changed }: { readonly now: number; readonly limit: number; readonly changed: Task[] },
  ): void {
    const [first] = group.tasks.values();
    if (first === undefined) return;
    const tasks = [...group.tasks.values()];
    const service = view.service(first.serviceId);
    const sharers = service === undefined ? [] : view.sharersOf(service);
    const demand = demandOf(first, service, sharers, view.driverOf, () => {
      const book = new PortBook();
      for (const port of view.servicePorts()) book.add(port);
      return book;
    });
    const place = (task: Task, entry: NodeEntry, as = entry): void => {
      const generic = demand.generic.length === 0 ? undefined : as.assign(demand.generic);
      const own = { ...task, ports: this.#portsFor(task, demand, entry, view) };
      const given = generic === undefined ? own : { ...own, generic };
      const placed = onNode(given, entry.node, view.service(task.serviceId), now);
      this.#decided.set(task.id, task);
      this.#index.putTask(placed);
      changed.push(placed);
    };
    /** @returns whether there was room for all of them in this decision */
    const say = (waiting: readonly Task[], message: string): boolean => {
      for (const task of waiting) {
        if (task.status.message === message) continue;
        if (changed.length >= limit) return false;
        changed.push({ ...task, status: { ...task.status, message, timestamp: now } });
      }
      return true;
    };
    const run: Run = {
      demand,
      now,
      // A task of a global service has its own volume on every node.
      homes: first.boundNode === undefined ? this.#homesOf(demand, view, false) : new Map(),
      nearSharers: false,
      standing: applying(STANDING, demand),
      room: applying(ROOM, demand),
      place,
      isFull: () => changed.length >= limit,
    };
    const bound = first.boundNode === undefined ? undefined : this.#index.entries.get(first.boundNode);
    const unheard = first.boundNode === undefined ? this.#unheard(demand) : undefined;
    if (unheard !== undefined) {
      say(tasks, unheard);
      return;
    }
    const unplaced =
      first.boundNode === undefined ? this.#placeNear(tasks, run, view) : this.#placeBound(tasks, bound, run);
    const rest = this.#placeInOwnSlot(unplaced, run, view);
    if (rest.length === 0 || run.isFull()) return;
    const message = this.#explain(run, first, bound, view);
    if (!say(rest, message)) return;
    // Volumes, ports of services and the service's own wishes may change without a node or task that does.
    if (demand.places.length > 0 || demand.spread.length > 0 || demand.maxReplicasPerNode > 0) return;
    if (demand.ports.some(isOpenPort)) return;
    const waiting = this.#index.waiting.get(key);
    if (
      waiting !== undefined &&
      rest.length === waiting.tasks.size &&
      rest.every(({ status }) => status.message === message)
    )
      waiting.settledAt = this.#index.freed;
  }

  #explain(run: Run, first: Task, bound: NodeEntry | undefined, view: SchedulerView): string {
    if (first.boundNode !== undefined && bound === undefined) return 'no suitable node: its node is gone';
    // What was placed in this run may have brought a volume somewhere.
    const homes = this.#homesOf(run.demand, view, false);
    return explain(run.demand, this.#index.entries.values(), bound === undefined ? homes : new Map(), bound);
  }

  /** Tasks that are for one node alone. @returns those that it has no room for */
  #placeBound(
    tasks: readonly Task[],
    entry: NodeEntry | undefined,
    { demand, standing, room, place, isFull }: Run,
  ): readonly Task[] {
    if (entry === undefined) return tasks;
    return tasks.filter((task) => {
      if (isFull() || !passesAll(standing, demand, entry) || !passesAll(room, demand, entry)) return true;
      place(task, entry);
      return false;
    });
  }

  /** Where those can follow that will share its network, else anywhere. @returns the tasks that fit nowhere */
  #placeNear(tasks: readonly Task[], run: Run, view: SchedulerView): readonly Task[] {
    if (run.demand.sharersPlaces.length === 0) return this.#place(tasks, run, view);
    const near = { ...run, homes: this.#homesOf(run.demand, view, true), nearSharers: true };
    const rest = this.#place(tasks, near, view);
    return rest.length === 0 ? rest : this.#place(rest, run, view);
  }

  /** @returns the tasks that fit nowhere */
  #place(tasks: readonly Task[], run: Run, view: SchedulerView): readonly Task[] {
    const { demand, homes, standing, room, place } = run;
    const fits = (entry: NodeEntry): boolean => passesAll(room, demand, entry);
    let rest = tasks.filter((task) => {
      const home = this.#homeOf(task);
      if (home === undefined || run.isFull()) return true;
      if (!isAllowed(home, homes) || !passesAll(standing, demand, home) || !fits(home)) return true;
      place(task, home);
      return false;
    });
    // The first one may decide where a new volume is made: the others follow it.
    const single = demand.places.some((volume) => !homes.has(volume)) && rest.length > 1;
    for (const batch of single ? [rest.slice(0, 1), rest.slice(1)] : [rest]) {
      const placedNow = this.#placeAnywhere(batch, run, view);
      rest = rest.filter((task) => !placedNow.has(task.id));
    }
    return rest;
  }

  /** @returns ids of the tasks that were placed */
  #placeAnywhere(tasks: readonly Task[], run: Run, view: SchedulerView): ReadonlySet<string> {
    const { demand, now } = run;
    const homes = this.#homesOf(demand, view, run.nearSharers);
    const eligible = this.#index.eligible(demand);
    const candidates = homes.size === 0 ? eligible : eligible.filter((entry) => isAllowed(entry, homes));
    const placed = new Set<string>();
    if (!this.#failures.has(demand.peersKey)) {
      this.#placeOn(candidates, tasks, run, placed);
      return placed;
    }
    const isFailing = ({ node }: NodeEntry): boolean => this.#failures.isFailing(demand.peersKey, node.id, now);
    this.#placeOn(
      candidates.filter((entry) => !isFailing(entry)),
      tasks,
      run,
      placed,
    );
    const rest = tasks.filter(({ id }) => !placed.has(id));
    if (rest.length > 0) this.#placeOn(candidates.filter(isFailing), rest, run, placed);
    return placed;
  }

  #placeOn(
    candidates: readonly NodeEntry[],
    tasks: readonly Task[],
    { demand, room, place, isFull }: Run,
    placed: Set<string>,
  ): void {
    const [first] = tasks;
    if (first === undefined || candidates.length === 0 || isFull()) return;
    const fits = (entry: NodeEntry): boolean => passesAll(room, demand, entry);
    const peers = this.#index.peersOf(demand.peersKey);
    if (tasks.length === 1 && demand.spread.length === 0) {
      const entry = lightest(candidates, peers, demand.imageKey, fits);
      if (entry === undefined) return;
      place(first, entry);
      placed.add(first.id);
      return;
    }
    const tree = new SpreadTree(candidates, this.#index.branches(demand), peers, demand.imageKey, fits);
    for (const task of tasks) {
      const entry = tree.next();
      if (entry === undefined || isFull()) break;
      place(task, entry);
      tree.placed();
      placed.add(task.id);
    }
  }

  /**
   * A task that waits until its slot's older one has ended may take that one's room: both never run at once.
   * @returns the tasks that fit there neither
   */
  #placeInOwnSlot(
    tasks: readonly Task[],
    { demand, homes, standing, room, place, isFull }: Run,
    view: SchedulerView,
  ): readonly Task[] {
    if (!tasks.some(({ desiredState }) => desiredState === 'ready')) return tasks;
    const siblings = Map.groupBy(
      view.tasksOf(tasks[0]?.serviceId as Service['id']).filter((task) => !task.oneOff && task.nodeId !== ''),
      ({ slot }) => slot,
    );
    return tasks.filter((task) => {
      if (task.desiredState !== 'ready' || task.oneOff || isFull()) return true;
      const older = (siblings.get(task.slot) ?? []).filter((other) => other.id !== task.id && mayRun(other));
      for (const [nodeId, leaving] of Map.groupBy(older, (other) => other.nodeId)) {
        const entry = this.#index.entries.get(nodeId);
        if (entry === undefined || !isAllowed(entry, homes) || !passesAll(standing, demand, entry)) continue;
        const later = entry.without(leaving);
        if (!passesAll(room, demand, later)) continue;
        place(task, entry, later);
        return false;
      }
      return true;
    });
  }

  /** A task that takes the place of another on its node has the numbers that that one had, where it may choose: both never run at once. */
  #portsFor(task: Task, { ports, reservedPorts }: Demand, entry: NodeEntry, view: SchedulerView): Task['ports'] {
    if (!ports.some(isOpenPort)) return task.ports;
    const older = view
      .tasksOf(task.serviceId)
      .filter(
        ({ id, oneOff, slot, nodeId }) => id !== task.id && !oneOff && slot === task.slot && nodeId === entry.node.id,
      );
    const waits = task.desiredState === 'ready' && !task.oneOff;
    const room = waits ? entry.without(older.filter(mayRun)) : entry;
    return (
      room.choosePorts(
        ports,
        reservedPorts,
        older.flatMap((one) => one.ports),
      ) ?? task.ports
    );
  }

  /** Where the task's predecessor ran, whose writable layer it takes over. */
  #homeOf(task: Task): NodeEntry | undefined {
    if (task.predecessor === '') return undefined;
    const predecessor = this.#index.task(task.predecessor);
    // Without a container there is nothing to go back to: another node may be able to do what that one was not.
    if (predecessor === undefined || predecessor.status.containerId === '') return undefined;
    return this.#index.entries.get(predecessor.nodeId);
  }

  /**
   * Where the demand's volumes and paths are: where their objects or the nodes say, else where tasks that have them are. Nodes that were
   * removed took theirs along.
   * @param withSharers also of those that will share its network
   */
  #homesOf(demand: Demand, view: SchedulerView, withSharers: boolean): Homes {
    const present = (ids: Iterable<string>): readonly string[] => [...ids].filter((id) => this.#index.entries.has(id));
    const homes = new Map<string, ReadonlySet<string>>();
    for (const place of withSharers ? [...demand.places, ...demand.sharersPlaces] : demand.places) {
      const said = isBindSource(place) ? this.#holdersOf(place, demand) : present(view.volume(place)?.nodeIds ?? []);
      if (said === undefined) continue;
      const nodes = said.length > 0 ? said : present(this.#index.volumes.get(place)?.keys() ?? []);
      if (nodes.length > 0) homes.set(place, new Set(nodes));
    }
    return homes;
  }

  /** Nodes that a task's constraints name: a path elsewhere is none of its own. */
  #named({ tests }: Demand): readonly NodeEntry[] {
    return [...this.#index.entries.values()].filter(({ node }) => tests.every(({ matches }) => matches(node)));
  }

  /** Nodes that have a path; none: nobody has it yet; undefined: no node says what it has, and it may be anywhere. */
  #holdersOf(path: string, demand: Demand): readonly string[] | undefined {
    const named = this.#named(demand);
    if (!named.some(({ node }) => node.bindSources !== undefined)) return undefined;
    return holdersOf(
      path,
      named.map(({ node }) => node),
    );
  }

  /** What nodes have still to say of a path; undefined: nothing. A cluster of one node does not wait: it can go nowhere else. */
  #unheard(demand: Demand): string | undefined {
    const paths = [...demand.places, ...demand.sharersPlaces].filter(isBindSource);
    if (paths.length === 0 || this.#index.entries.size === 1) return undefined;
    const named = this.#named(demand);
    for (const path of paths) {
      const silent = named.filter(({ node }) => hasToSay(node, path));
      if (silent.length > 0) return waitingToHear(silent, path);
    }
    return undefined;
  }

  /** Objects of volumes that do not say yet where they were found, and where they may be. */
  #volumesFound(view: SchedulerView): readonly Volume[] {
    const changed: Volume[] = [];
    for (const name of new Set([...this.#found.keys(), ...this.#assigned.keys()])) {
      const volume = view.volume(name);
      const nodeIds = [...new Set([...(volume?.nodeIds ?? []), ...(this.#found.get(name) ?? [])])];
      const assigned = new Set([...(volume?.assignedTo ?? []), ...(this.#assigned.get(name) ?? [])]);
      const assignedTo = [...assigned].filter((id) => !nodeIds.includes(id));
      // Also of one that is going: whoever has it is asked to remove it.
      if (
        volume === undefined ||
        (nodeIds.length === (volume.nodeIds?.length ?? 0) && assignedTo.length === (volume.assignedTo?.length ?? 0))
      ) {
        this.#found.delete(name);
        this.#assigned.delete(name);
      } else changed.push({ ...volume, nodeIds, assignedTo });
    }
    return changed;
  }
}

/** More than a few are not named: as they answer, every task that waits would be told of the others. */
const MOST_NAMED = 3;

function waitingToHear(silent: readonly NodeEntry[], path: string): string {
  if (silent.length > MOST_NAMED) return `waiting to hear which nodes have "${path}"`;
  const names = silent.map(({ node }) => `"${node.description.hostname}"`).sort();
  return `waiting to hear whether ${names.join(' or ')} has "${path}"`;
}

/** The task with its node and its texts as they are there; rejected where they cannot be made. */
function onNode(task: Task, node: Node, service: Service | undefined, now: number): Task {
  try {
    const expanded = service === undefined ? task : expandOnNode(task, service, node);
    const status = { ...task.status, state: 'assigned' as const, message: 'assigned', timestamp: now };
    return { ...expanded, nodeId: node.id, status };
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error;
    const why = { message: 'could not start', error: `${error.message} (on node "${node.description.hostname}")` };
    return { ...task, status: { ...task.status, ...why, state: 'rejected', timestamp: now } };
  }
}

/** Volumes of projects that placed tasks use and nobody has written down: their names are templates. */
function volumesNamedBy(tasks: readonly Task[], view: SchedulerView): readonly NewVolume[] {
  const found = new Map<string, NewVolume>();
  for (const { nodeId, projectId, spec } of tasks) {
    if (nodeId === '') continue;
    for (const mount of spec.container.mounts) {
      if (mount.type !== 'volume' || mount.source === '' || mount.driver === 'external') continue;
      const composeName = mount.labels['com.docker.compose.volume'];
      if (composeName === undefined || found.has(mount.source) || view.volume(mount.source) !== undefined) continue;
      const { driver, driverOptions, labels } = mount;
      found.set(mount.source, { projectId, spec: { name: mount.source, composeName, driver, driverOptions, labels } });
    }
  }
  return [...found.values()];
}

const isAllowed = ({ node }: NodeEntry, homes: Homes): boolean => {
  for (const nodes of homes.values()) if (!nodes.has(node.id)) return false;
  return true;
};
