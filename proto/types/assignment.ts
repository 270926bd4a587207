import type { NetworkId, NodeId, ServiceId, TaskId } from '../../base/ids.ts';
import type { Config, Network, PublishedPort, Secret, Task, TaskStatus, Volume } from './objects.ts';

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
}

/** A published port and the addresses behind it, balanced over in turn. */
export interface IngressPort {
  readonly port: PublishedPort;
  readonly serviceId: ServiceId;
  readonly backends: readonly { readonly taskId: TaskId; readonly ipv4: string }[];
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
}

/** One message of the assignments stream: the first is complete, the following are differences. */
export interface AssignmentChange {
  readonly kind: 'complete' | 'incremental';
  /** Grows by one with each message of a session; a gap means: ask again. */
  readonly sequence: number;
  /** It takes something away that others wait for: the node says when it is done. */
  readonly acknowledge?: boolean;
  readonly update: AssignmentSet;
  /** Ids to forget (incremental only). An endpoint's key is "<taskId>/<networkId>", an ingress port's "<protocol>/<ip>/<port>". */
  readonly remove: {
    readonly tasks: readonly string[];
    readonly networks: readonly string[];
    readonly volumes: readonly string[];
    readonly secrets: readonly string[];
    readonly configs: readonly string[];
    readonly endpoints: readonly string[];
    readonly ingress: readonly string[];
  };
}

export interface TaskStatusUpdate {
  readonly taskId: TaskId;
  readonly status: TaskStatus;
}
