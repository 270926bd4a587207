import type {
  AssignmentSet,
  IngressPort,
  Network,
  NetworkEndpoint,
  Service,
  ServiceAddress,
  Task,
  TaskAddress,
  Volume,
} from '../../proto/types/index.ts';
import type { NetworkId, NodeId } from '../../base/ids.ts';
import { portAddress } from '../../base/network-driver.ts';
import type { ReadTransaction } from '../store/types.ts';
import { goingAddresses, heldAddresses, steadyAddresses } from '../model/task-addresses.ts';
import { isServing, mayRun, reached } from '../model/task-state.ts';
import { networkOn } from './node-parents.ts';
import type { SharedSets } from './shared.ts';

/**
 * All that a node needs to know now: its tasks, and of everything else just what they use. Networks and volumes that are
 * to be removed go to every node, because any may hold a part of them.
 * @param shared what is the same for many nodes
 */
export function assignmentSet(tx: ReadTransaction, nodeId: NodeId, shared: SharedSets): AssignmentSet {
  const tasks = tx
    .find('task', 'node', nodeId)
    .filter((task) => reached(task.status.state, 'assigned') && task.status.state !== 'remove');
  const live = tasks.filter(mayRun);
  const networkIds = new Set(tasks.flatMap((task) => heldAddresses(task).map(({ networkId }) => networkId)));
  const names = (pick: (task: Task) => readonly { readonly name: string }[]): Set<string> =>
    new Set(live.flatMap((task) => pick(task).map(({ name }) => name)));
  const secrets = names((task) => task.spec.container.secrets);
  const configs = names((task) => task.spec.container.configs);
  const node = tx.get('node', nodeId);
  const networks = tx
    .list('network')
    .filter((network) => networkIds.has(network.id) || network.pendingDelete)
    .map((network) => networkOn(network, node));
  return {
    tasks,
    networks,
    volumes: tx.list('volume').filter((volume) => volume.pendingDelete && mayHold(tx, volume, nodeId)),
    secrets: tx.list('secret').filter(({ spec }) => secrets.has(spec.name)),
    configs: tx.list('config').filter(({ spec }) => configs.has(spec.name)),
    ...shared.of(tx, nodeId, networks),
  };
}

/** The set with those of its tasks marked that shall stop, or leave a network, and must not yet. */
export function withDraining(set: AssignmentSet, mustWait: (task: Task) => boolean): AssignmentSet {
  const isLeaving = ({ desiredState, oneOff, status }: Task): boolean =>
    (desiredState === 'shutdown' || desiredState === 'remove') && !oneOff && status.state === 'running';
  const isMoving = (task: Task): boolean => task.status.state === 'running' && goingAddresses(task).length > 0;
  const isGoing = (task: Task): boolean => isLeaving(task) || isMoving(task);
  if (!set.tasks.some(isGoing)) return set;
  return {
    ...set,
    tasks: set.tasks.map((task) => (isGoing(task) && mustWait(task) ? { ...task, draining: true } : task)),
  };
}

/** Where nothing is known of its nodes, or none of them is left, every node looks. */
function mayHold(tx: ReadTransaction, { nodeIds = [], assignedTo = [] }: Volume, nodeId: NodeId): boolean {
  const known = [...nodeIds, ...assignedTo];
  return known.includes(nodeId) || !known.some((id) => tx.get('node', id) !== undefined);
}

/** What a node that is down runs cannot be reached from others. */
export type Reachable = (task: Task) => boolean;

/** Serving tasks on the networks, with every name that finds them; one that shall stop is found no longer. */
export function endpoints(tx: ReadTransaction, networks: readonly Network[], reachable: Reachable): NetworkEndpoint[] {
  const byId = new Map(networks.map((network) => [network.id, network]));
  const found: NetworkEndpoint[] = [];
  if (byId.size === 0) return found;
  for (const task of tx.list('task')) {
    if (task.nodeId === '' || task.desiredState !== 'running' || !isServing(task) || !reachable(task)) continue;
    const service = tx.get('service', task.serviceId);
    for (const address of steadyAddresses(task)) {
      const network = byId.get(address.networkId);
      if (network !== undefined) found.push(endpointOf(task, service, network, address));
    }
  }
  return found;
}

/** By task, as long as its service is the same: a commit changes few of them, and who compares two lists compares pointers then. */
const made = new WeakMap<Task, { readonly of: Service | undefined; readonly on: Map<NetworkId, NetworkEndpoint> }>();

function endpointOf(
  task: Task,
  service: Service | undefined,
  network: Network,
  { networkId, ipv4, ipv6 }: TaskAddress,
): NetworkEndpoint {
  let known = made.get(task);
  if (known === undefined || known.of !== service) made.set(task, (known = { of: service, on: new Map() }));
  const before = known.on.get(networkId);
  // A task can have two addresses on one network while it is given another.
  if (before?.ipv4 === ipv4 && before.ipv6 === ipv6) return before;
  const attachment = task.spec.networks.find((candidate) => candidate.network === network.spec.name);
  const endpoint: NetworkEndpoint = {
    taskId: task.id,
    serviceId: task.serviceId,
    networkId,
    name: task.name,
    aliases: [...new Set([...endpointNames(task, service), ...(attachment?.aliases ?? [])])],
    ipv4,
    nodeId: task.nodeId as NodeId,
    ...(ipv6 === undefined ? {} : { ipv6 }),
  };
  known.on.set(networkId, endpoint);
  return endpoint;
}

/**
 * Names of a service on each of its networks: "web", the name of the service object "shop_web", and "web.shop" for those who share a
 * network with other projects.
 */
export function serviceNames({ spec, projectName }: Service): readonly string[] {
  return [
    ...new Set([spec.composeName, spec.name, ...(projectName === '' ? [] : [`${spec.composeName}.${projectName}`])]),
  ];
}

/**
 * Beside the container's name: those of its service, and what it calls itself, which programs tell others (its host name, or the first
 * digits of its id). A one-off task answers to its own names only, as with Compose.
 */
function endpointNames({ oneOff, spec, status }: Task, service: Service | undefined): readonly string[] {
  const { hostname } = spec.container;
  const own = hostname === '' ? status.containerId.slice(0, 12) : hostname;
  return [...(service === undefined || oneOff ? [] : serviceNames(service)), ...(own === '' ? [] : [own])];
}

/** Published ports of services with the serving tasks behind them; empty while none serves, so that a clash shows early. */
export function ingress(tx: ReadTransaction, reachable: Reachable): IngressPort[] {
  const ports: IngressPort[] = [];
  for (const service of tx.list('service')) {
    if (service.pendingDelete || service.stopped || service.ports.length === 0) continue;
    const backends = tx
      .find('task', 'service', service.id)
      .filter((task) => isServing(task) && !task.oneOff && task.desiredState === 'running' && reachable(task))
      .flatMap((task) => {
        const reached = { ...task, addresses: steadyAddresses(task) };
        const address = portAddress(reached, (id: NetworkId) => tx.get('network', id)?.spec.driver);
        return address === undefined ? [] : [backendOf(task, address)];
      });
    for (const port of service.ports) {
      if (port.mode !== 'ingress') continue;
      const { affinity } = service.spec;
      ports.push({ port, serviceId: service.id, backends, ...(affinity === undefined ? {} : { affinity }) });
    }
  }
  return ports;
}

const backendOf = ({ id, nodeId }: Task, { ipv4, ipv6 }: TaskAddress): IngressPort['backends'][number] => ({
  taskId: id,
  ipv4,
  ...(ipv6 === undefined ? {} : { ipv6 }),
  ...(nodeId === '' ? {} : { nodeId }),
});

/** The virtual addresses of services on the networks, with the names that lead to them. */
export function serviceAddresses(tx: ReadTransaction, networks: readonly Network[]): ServiceAddress[] {
  const byId = new Map(networks.map((network) => [network.id, network]));
  if (byId.size === 0) return [];
  return tx.list('service').flatMap((service) =>
    service.pendingDelete
      ? []
      : service.virtualIps.flatMap(({ networkId, ipv4, ipv6 }) => {
          const network = byId.get(networkId);
          if (network === undefined) return [];
          return [
            {
              serviceId: service.id,
              networkId,
              names: [...new Set([...serviceNames(service), ...commonAliases(tx, service, network)])],
              ipv4,
              ...(ipv6 === undefined ? {} : { ipv6 }),
              ...(service.spec.affinity === undefined ? {} : { affinity: service.spec.affinity }),
            },
          ];
        }),
  );
}

/** What the spec calls the service on a network, as far as its tasks are called so too: in an update some may not be yet. */
function commonAliases(tx: ReadTransaction, service: Service, network: Network): readonly string[] {
  const aliasesOf = ({ task }: { readonly task: Task['spec'] }): readonly string[] =>
    task.networks.find((one) => one.network === network.spec.name)?.aliases ?? [];
  const wanted = aliasesOf(service.spec);
  if (wanted.length === 0) return wanted;
  const others = tx
    .find('task', 'service', service.id)
    .filter((task) => isServing(task) && !task.oneOff && task.desiredState === 'running')
    .map(({ spec }) => new Set(aliasesOf({ task: spec })));
  return wanted.filter((alias) => others.every((known) => known.has(alias)));
}
