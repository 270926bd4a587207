import { isOpenPort, numbersOf } from '../../base/published-port.ts';
import type { Demand } from './demand.ts';
import { isBindSource } from '../model/bind-sources.ts';
import { hasKind } from './generic.ts';
import type { NodeEntry } from './node-entry.ts';

/** What hinders one node, as it is said of one and of several: ["lacks 512 MB of memory", "lack 512 MB of memory"]. */
export type Words = readonly [one: string, many: string];

/** A rule that a node must pass. */
export interface Filter {
  readonly applies: (demand: Demand) => boolean;
  readonly passes: (demand: Demand, entry: NodeEntry) => boolean;
  readonly words: (demand: Demand, entry: NodeEntry) => Words;
}

/** What is true of the node itself, whatever runs there. */
const STATE: Filter = {
  applies: () => true,
  passes: (_, { node }) => node.status.state === 'ready',
  words: (_, { node }) =>
    node.status.state === 'down' ? beingWords('down') : ['has not reported', 'have not reported'],
};
const AVAILABILITY: Filter = {
  applies: () => true,
  passes: (_, { node }) => node.spec.availability === 'active',
  words: (_, { node }) => beingWords(node.spec.availability === 'drain' ? 'drained' : 'paused'),
};
const CONSTRAINTS: Filter = {
  applies: ({ tests }) => tests.length > 0,
  passes: ({ tests }, { node }) => tests.every(({ matches }) => matches(node)),
  words: ({ tests }, { node }) => doingWords(`match ${tests.find(({ matches }) => !matches(node))?.text ?? ''}`),
};
const DRIVERS: Filter = {
  applies: ({ drivers }) => drivers.length > 0,
  passes: ({ drivers }, { node }) => drivers.every((driver) => hasDriver(node, driver)),
  words({ drivers }, { node }) {
    const missing = drivers.find((driver) => !hasDriver(node, driver)) ?? '';
    return [`has no ${missing} networks`, `have no ${missing} networks`];
  },
};
const hasDriver = ({ description }: NodeEntry['node'], driver: string): boolean =>
  description.networkDrivers?.includes(driver) === true;

/** In the order in which they are asked. */
export const STANDING: readonly Filter[] = [STATE, AVAILABILITY, CONSTRAINTS, DRIVERS];

/** What depends on the tasks there: they come and go. */
export const ROOM: readonly Filter[] = [
  {
    applies: ({ ports }) => ports.length > 0,
    passes: ({ ports, reservedPorts }, entry) =>
      ports.some(isOpenPort)
        ? entry.choosePorts(ports, reservedPorts) !== undefined
        : ports.every((port) => entry.publisherOf(port) === undefined),
    words({ ports, reservedPorts }, entry) {
      const full = ports.find(
        (port) =>
          isOpenPort(port) &&
          entry.choosePorts([...ports.filter((one) => !isOpenPort(one)), port], reservedPorts) === undefined,
      );
      if (full !== undefined) {
        const owners = entry.publishersOf(full, numbersOf(full));
        const by = owners.length === 0 ? '' : `: in use by ${owners.join(', ')}`;
        const range = `none of the ports ${numbersOf(full).join('-')}/${full.protocol} free${by}`;
        return [`has ${range}`, `have ${range}`];
      }
      const taken = ports.filter((port) => entry.publisherOf(port) !== undefined);
      const owners = new Set(taken.map((port) => entry.publisherOf(port)));
      const names = taken.map(({ published, protocol }) => `${published}/${protocol}`).join(', ');
      const what = `${taken.length === 1 ? 'port' : 'ports'} ${names} in use by ${[...owners].join(', ')}`;
      return [`has ${what}`, `have ${what}`];
    },
  },
  {
    applies: ({ maxReplicasPerNode }) => maxReplicasPerNode > 0,
    passes: ({ maxReplicasPerNode, serviceId }, entry) => entry.replicasOf(serviceId) < maxReplicasPerNode,
    words({ maxReplicasPerNode: most }) {
      const what = `${most} ${most === 1 ? 'replica' : 'replicas'}, the most allowed per node`;
      return [`has ${what}`, `have ${what}`];
    },
  },
  {
    applies: ({ nanoCpus }) => nanoCpus > 0,
    passes: ({ nanoCpus }, entry) => entry.node.description.resources.nanoCpus - entry.nanoCpus >= nanoCpus,
    words: ({ nanoCpus }) => lackingWords(`${nanoCpus / 1e9} ${nanoCpus === 1e9 ? 'CPU' : 'CPUs'}`),
  },
  {
    applies: ({ memoryBytes }) => memoryBytes > 0,
    passes: ({ memoryBytes }, entry) => entry.node.description.resources.memoryBytes - entry.memoryBytes >= memoryBytes,
    words: ({ memoryBytes }) => lackingWords(`${formatMemory(memoryBytes)} of memory`),
  },
  {
    applies: ({ generic }) => generic.length > 0,
    passes: ({ generic }, entry) => entry.assign(generic) !== undefined,
    words({ generic }, entry) {
      const missing = generic.find((wish) => entry.assign([wish]) === undefined);
      if (missing === undefined) return lackingWords('generic resources');
      const { kind, count, names } = missing;
      if (!hasKind(kind, entry.node)) return [`has no ${kind}`, `have no ${kind}`];
      return lackingWords(names.length > 0 ? `${kind} ${names.join(', ')}` : `${count} ${kind}`);
    },
  },
];

/** Whether nothing of `filters` hinders the node; those that do not apply are to be left out by the caller. */
export function passesAll(filters: readonly Filter[], demand: Demand, entry: NodeEntry): boolean {
  for (const filter of filters) if (!filter.passes(demand, entry)) return false;
  return true;
}

/** The filters that concern the demand. */
export const applying = (filters: readonly Filter[], demand: Demand): readonly Filter[] =>
  filters.filter(({ applies }) => applies(demand));

const beingWords = (what: string): Words => [`is ${what}`, `are ${what}`];
const doingWords = (what: string): Words => [`does not ${what}`, `do not ${what}`];
const lackingWords = (what: string): Words => [`lacks ${what}`, `lack ${what}`];

/** Words for a node that does not hold a volume, or does not have a path. */
export const holdingWords = (place: string): Words =>
  doingWords(isBindSource(place) ? `have "${place}"` : `hold volume "${place}"`);

/** 536870912 → "512 MB", in the units of a compose file: 1 MB are 1024 KB. */
export function formatMemory(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let amount = bytes;
  // Above megabytes only where nothing is lost.
  while (amount >= 1024 && unit < units.length - 1 && (unit < 2 || Number.isInteger((amount / 1024) * 10))) {
    amount /= 1024;
    unit++;
  }
  return `${Math.ceil(amount * 10) / 10} ${units[unit] ?? ''}`;
}
