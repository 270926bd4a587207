import type { NetworkId, NodeId, ServiceId, TaskId } from '../../base/ids.ts';
import type { Config, Network, NodeOverlay, PublishedPort, Secret, Task, TaskStatus, Volume } from './objects.ts';

/** A name that answers on a network, as the resolver at 127.0.0.11 of each container attached to it knows it. */
export interface NetworkEndpoint {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId;
  readonly networkId: NetworkId;
  /** Container name: also a DNS name. */
  readonly name: string;
  /** Names that resolve to this endpoint: service name and aliases. */
  readonly aliases: readonly string[];
  readonly ipv4: string;
  readonly nodeId: NodeId;
  readonly ipv6?: string;
}

/** A service's one address on a network: the node leads connections to it to the service's endpoints there. */
export interface ServiceAddress {
  readonly serviceId: ServiceId;
  readonly networkId: NetworkId;
  /** Names that resolve to it: service name and aliases that all its tasks have. */
  readonly names: readonly string[];
  readonly ipv4: string;
  readonly ipv6?: string;
  readonly affinity?: 'client';
}

/** A node that has tasks on one of this node's overlay networks, or ports to hand on; the one that is told may be among them. */
export interface OverlayPeer {
  readonly nodeId: NodeId;
  readonly overlay: NodeOverlay;
  /** See Node.meshAddress; absent: ports are not handed to it. */
  readonly meshAddress?: string;
}

/** Where an address of an overlay network is, whether or not the task serves yet: forwarding entries are made of these. */
export interface OverlayLocation {
  readonly taskId: TaskId;
  readonly networkId: NetworkId;
  readonly nodeId: NodeId;
  readonly ipv4: string;
  readonly ipv6?: string;
  /** Absent: it follows from the IPv4 address. */
  readonly macAddress?: string;
}

/** A published port and the addresses behind it, balanced over in turn. */
export interface IngressPort {
  readonly port: PublishedPort;
  readonly serviceId: ServiceId;
  readonly backends: readonly {
    readonly taskId: TaskId;
    readonly ipv4: string;
    readonly nodeId?: NodeId;
    readonly ipv6?: string;
  }[];
  /** A caller is led to the same backend again; absent: to any. */
  readonly affinity?: 'client';
}

/** All that one worker needs to know, no more. Keyed by id in each list; an incremental change replaces whole items. */
export interface AssignmentSet {
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
  readonly secrets: readonly Secret[];
  readonly configs: readonly Config[];
  /** Endpoints that are running (and healthy, where a check exists) on the networks this node has tasks on. */
  readonly endpoints: readonly NetworkEndpoint[];
  readonly ingress: readonly IngressPort[];
  readonly services: readonly ServiceAddress[];
  readonly peers: readonly OverlayPeer[];
  /** Of every task on the overlay networks this node has tasks on, its own among them. */
  readonly locations: readonly OverlayLocation[];
}

/** One message of the assignments stream: the first is complete, the following are differences. */
export interface AssignmentChange {
  readonly kind: 'complete' | 'incremental';
  /** Grows by one with each message of a session; a gap means: ask again. */
  readonly sequence: number;
  /** It takes something away that others wait for: the node says when it is done. */
  readonly acknowledge?: boolean;
  readonly update: AssignmentSet;
  /**
   * Ids to forget (incremental only). An endpoint's and a location's key is "<taskId>/<networkId>", an ingress port's
   * "<protocol>/<ip>/<port>", a service address's "<serviceId>/<networkId>", a peer's the node's id.
   */
  readonly remove: {
    readonly tasks: readonly string[];
    readonly networks: readonly string[];
    readonly volumes: readonly string[];
    readonly secrets: readonly string[];
    readonly configs: readonly string[];
    readonly endpoints: readonly string[];
    readonly ingress: readonly string[];
    readonly services: readonly string[];
    readonly peers: readonly string[];
    readonly locations: readonly string[];
  };
}

export interface TaskStatusUpdate {
  readonly taskId: TaskId;
  readonly status: TaskStatus;
}
