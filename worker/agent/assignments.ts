import type {
  AssignmentChange,
  AssignmentSet,
  IngressPort,
  NetworkEndpoint,
  OverlayLocation,
  OverlayPeer,
  ServiceAddress,
} from '../../proto/types/index.ts';

/** What this node shall have, by key. Replaced as a whole at each change; never altered. */
export interface Assignments {
  readonly tasks: ReadonlyMap<string, AssignmentSet['tasks'][number]>;
  readonly networks: ReadonlyMap<string, AssignmentSet['networks'][number]>;
  readonly volumes: ReadonlyMap<string, AssignmentSet['volumes'][number]>;
  readonly secrets: ReadonlyMap<string, AssignmentSet['secrets'][number]>;
  readonly configs: ReadonlyMap<string, AssignmentSet['configs'][number]>;
  readonly endpoints: ReadonlyMap<string, NetworkEndpoint>;
  readonly ingress: ReadonlyMap<string, IngressPort>;
  readonly services: ReadonlyMap<string, ServiceAddress>;
  readonly peers: ReadonlyMap<string, OverlayPeer>;
  readonly locations: ReadonlyMap<string, OverlayLocation>;
}

/** Key of an endpoint or a location in a difference. */
export const endpointKey = (endpoint: Pick<NetworkEndpoint, 'taskId' | 'networkId'>): string =>
  `${endpoint.taskId}/${endpoint.networkId}`;
/** Key of an ingress port in a difference. */
export const ingressKey = ({ port }: IngressPort): string => `${port.protocol}/${port.hostIp}/${port.published}`;

/** Key of a service's address in a difference. */
export const serviceAddressKey = ({ serviceId, networkId }: ServiceAddress): string => `${serviceId}/${networkId}`;

/** Nothing assigned. */
export const NO_ASSIGNMENTS: Assignments = {
  tasks: new Map(),
  networks: new Map(),
  volumes: new Map(),
  secrets: new Map(),
  configs: new Map(),
  endpoints: new Map(),
  ingress: new Map(),
  services: new Map(),
  peers: new Map(),
  locations: new Map(),
};

const byId = (object: { readonly id: string }): string => object.id;

/** The assignments after one message of the stream: a complete one replaces everything, a difference whole items. */
export function applyChange(before: Assignments, change: AssignmentChange): Assignments {
  const from = change.kind === 'complete' ? NO_ASSIGNMENTS : before;
  const { update, remove } = change;
  return {
    tasks: merge(from.tasks, update.tasks, byId, remove.tasks),
    networks: merge(from.networks, update.networks, byId, remove.networks),
    volumes: merge(from.volumes, update.volumes, byId, remove.volumes),
    secrets: merge(from.secrets, update.secrets, byId, remove.secrets),
    configs: merge(from.configs, update.configs, byId, remove.configs),
    endpoints: merge(from.endpoints, update.endpoints, endpointKey, remove.endpoints),
    ingress: merge(from.ingress, update.ingress, ingressKey, remove.ingress),
    services: merge(from.services, update.services, serviceAddressKey, remove.services),
    peers: merge(from.peers, update.peers, ({ nodeId }) => nodeId, remove.peers),
    locations: merge(from.locations, update.locations, endpointKey, remove.locations),
  };
}

/** The removals of a message that removes nothing. */
export const NO_REMOVALS: AssignmentChange['remove'] = {
  tasks: [],
  networks: [],
  volumes: [],
  secrets: [],
  configs: [],
  endpoints: [],
  ingress: [],
  services: [],
  peers: [],
  locations: [],
};

/** The same as a set, the shape in which it is kept on disk. */
export function toSet(assignments: Assignments): AssignmentSet {
  return {
    tasks: [...assignments.tasks.values()],
    networks: [...assignments.networks.values()],
    volumes: [...assignments.volumes.values()],
    secrets: [...assignments.secrets.values()],
    configs: [...assignments.configs.values()],
    endpoints: [...assignments.endpoints.values()],
    ingress: [...assignments.ingress.values()],
    services: [...assignments.services.values()],
    peers: [...assignments.peers.values()],
    locations: [...assignments.locations.values()],
  };
}

function merge<T>(
  before: ReadonlyMap<string, T>,
  updates: readonly T[],
  key: (item: T) => string,
  removals: readonly string[],
): ReadonlyMap<string, T> {
  if (updates.length === 0 && removals.length === 0) return before;
  const after = new Map(before);
  for (const id of removals) after.delete(id);
  for (const item of updates) after.set(key(item), item);
  return after;
}
