import type {
  ClusterId,
  ConfigId,
  ContainerId,
  NetworkId,
  NodeId,
  ProjectId,
  RevisionId,
  SecretId,
  ServiceId,
  TaskId,
  VolumeId,
} from '../../base/ids.ts';
import type {
  ContainerSpec,
  GenericResource,
  Labels,
  LogConfig,
  ResourceLimits,
  ResourceReservations,
} from './container.ts';
import type { DesiredProject, ProjectChange } from './project.ts';

/** Every stored object: spec (the user's, never rewritten), status (observed), desired state (decided by the manager). */
export interface Meta {
  /** Raft index of the last change: the optimistic lock. 0 before the object is stored. */
  readonly version: number;
  /** Wall time, ms since the epoch. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

// ---------------------------------------------------------------------------------------------- cluster and nodes

export interface Cluster {
  readonly id: ClusterId;
  readonly meta: Meta;
  readonly spec: ClusterSpec;
  readonly joinTokens: { readonly worker: string; readonly manager: string };
  /** PEM of the root certificate; the key stays sealed in the same object. */
  readonly rootCaCertificate: string;
  readonly rootCaKey: string;
  /** Present while the cluster moves from one root to another. */
  readonly caRotation?: CaRotation;
  /** Join tokens that were replaced, as sha256 in hex, newest last: whoever still brings one is told so. */
  readonly rotatedTokens?: readonly string[];
  /** Nodes that were removed: their certificates are refused and never renewed. */
  readonly removedNodes?: readonly RemovedNode[];
  /** Digests of the roots before this one, newest last: whoever still brings a token of one is told so. */
  readonly formerRoots?: readonly string[];
  /** With autolock: every manager locks its keys with it. */
  readonly unlockKey?: string;
}

/** A change of root under way: certificates are issued by the new root, both roots are trusted. */
export interface CaRotation {
  readonly startedAt: number;
  /** PEM of the new root. */
  readonly rootCertificate: string;
  readonly rootKey: string;
  /** PEM: name and key of the new root, signed by the old one; sent along with every certificate of the new root. */
  readonly crossCertificate: string;
}

export interface RemovedNode {
  readonly id: NodeId;
  /** Wall time, ms, from which no certificate of the node can be valid any more: it need not be remembered longer. */
  readonly forgetAt: number;
}

export interface ClusterSpec {
  readonly name: string;
  /** Tasks kept per slot, the live one included. Swarm's default is 5. */
  readonly taskHistoryLimit: number;
  /** "10.128.0.0/12": subnets for networks that ask for none are cut from these. */
  readonly addressPools: readonly string[];
  /** Prefix length of a subnet cut from the pools. */
  readonly addressPoolPrefix: number;
  /** Lifetime of node certificates, ms; absent: 90 days. At least an hour. */
  readonly nodeCertExpiryMs?: number;
  /** How often nodes say that they are there, ms; absent: 1.5 s. A node that is silent for three times as long is down. */
  readonly dispatcherHeartbeatMs?: number;
  /** Log entries between two snapshots of a manager's state; absent: 10,000. */
  readonly snapshotInterval?: number;
  /** Snapshots that are kept beside the newest; absent: 1. */
  readonly maxSnapshots?: number;
  /** A manager that is silent for this long loses its vote if enough others are left, ms; 0 or absent: never. */
  readonly removeDeadManagersMs?: number;
  /** A manager that starts needs the unlock key. */
  readonly autoLock?: boolean;
  /** Services that sign certificates in place of the managers, for the root that each names. */
  readonly externalCas?: readonly ExternalCa[];
  /** Revisions kept of each project and of each service of no project, the newest included; absent: 10. */
  readonly revisionLimit?: number;
  /** UDP port of VXLAN on every node, for the cluster's lifetime; absent: 4789. */
  readonly dataPathPort?: number;
}

export interface ExternalCa {
  /** CFSSL's sign request as JSON over https. */
  readonly protocol: 'cfssl';
  /** "https://ca.example:8888/api/v1/cfssl/sign" */
  readonly url: string;
  /** PEM of the root that it signs with. */
  readonly rootCertificate: string;
}

export type NodeRole = 'manager' | 'worker';
export type NodeAvailability = 'active' | 'pause' | 'drain';
export type NodeState = 'unknown' | 'ready' | 'down';

export interface Node {
  readonly id: NodeId;
  readonly meta: Meta;
  readonly spec: { readonly role: NodeRole; readonly availability: NodeAvailability; readonly labels: Labels };
  readonly description: NodeDescription;
  readonly status: {
    readonly state: NodeState;
    readonly message: string;
    readonly address: string;
    /** The longest lease that a manager may have promised it, ms; 0: one without end; absent: none yet. */
    readonly leaseMs?: number;
  };
  /** The certificate it was given last; absent: it has none yet. */
  readonly certificate?: NodeCertificate;
  /** Its address in the mesh that leads published ports from node to node; absent: none yet. */
  readonly meshAddress?: string;
  /** Images that it has, as it said last: keys of names and digests (base/image-key.ts), a limited number. */
  readonly images?: readonly string[];
  /** Absent: it does not say. */
  readonly bindSources?: NodeBindSources;
}

/** Which of the paths that containers have mounted, or shall, a node has, as it said last, and which it has not. In neither: it has not said. */
export interface NodeBindSources {
  readonly present: readonly string[];
  readonly missing: readonly string[];
  /** What it had when the last service that named it went: of a node that is down that counts still. */
  readonly former?: readonly string[];
}

export interface NodeCertificate {
  readonly role: NodeRole;
  /** sha256 of the public key (SPKI), hex: a join that is repeated with the same key is the same join. */
  readonly keyDigest: string;
  /** Beginning and end of the certificate, wall time, ms. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** What the node itself said last that it uses: digest of its issuer, and of the roots it trusts. Empty: nothing yet. */
  readonly usedIssuer: string;
  readonly trustedRoots: readonly string[];
}

export interface NodeDescription {
  readonly hostname: string;
  /** GOOS/GOARCH names: "linux", "amd64". */
  readonly platform: { readonly os: string; readonly architecture: string };
  readonly resources: {
    readonly nanoCpus: number;
    readonly memoryBytes: number;
    /** What the node has beside them, as it was started with; absent: nothing. */
    readonly generic?: readonly GenericResource[];
  };
  readonly engine: { readonly version: string; readonly labels: Labels };
  /** How other nodes reach its containers; absent: it has no overlay networks. */
  readonly overlay?: NodeOverlay;
  /** Subnets that the node has routes to, but for those of its own networks and the default route: "192.168.1.0/24". */
  readonly routes?: readonly string[];
  /** What it can change in containers that run; absent: nothing. */
  readonly live?: readonly LiveFeature[];
  /** Network drivers beside bridge and overlay that its kernel has what it takes for; absent: none. */
  readonly networkDrivers?: readonly string[];
}

/**
 * What a node can change in a running container; which fields of a spec that is, manager/model/spec-change.ts says.
 * `limits`: its control group; `resources`: rlimits of its processes; `settings`: what only its supervisor and the engine go by;
 * `files`: secrets and configs; `mounts`: its mount namespace; `names`: its host name and resolver files; `sysctls`; `networks`.
 */
export type LiveFeature =
  'limits' | 'resources' | 'settings' | 'files' | 'mounts' | 'names' | 'sysctls' | 'networks' | 'devices' | 'blockIo';

/** Where a node takes part in overlay networks. */
export interface NodeOverlay {
  /** "192.0.2.7" or an IPv6 address: encapsulated packets go there. */
  readonly address: string;
  /** UDP port of VXLAN, the cluster's: managers write it in; 0: the node has not been told yet. */
  readonly port: number;
  /** WireGuard's public key of the link on the next port, base64; with no other key absent: it has no encrypted networks. */
  readonly publicKey?: string;
  /** Where calls of the node itself may come from, of both families: addresses that others can have to do with. Absent: `address` alone. */
  readonly addresses?: readonly string[];
  /** When it was made, ms; absent beside a key: the node is of a version that does not rotate keys. */
  readonly keyMadeAt?: number;
  /** That of the second link, three ports further. While a key is rotated both are there, the newer one is the next. */
  readonly alternateKey?: string;
  readonly alternateKeyMadeAt?: number;
}

// ---------------------------------------------------------------------------------------------- projects, services

/** One compose project; applying a DesiredProject makes a new revision of it, atomically. */
export interface Project {
  readonly id: ProjectId;
  readonly meta: Meta;
  readonly name: string;
  readonly revision: number;
  /** sha256 of the applied DesiredProject; equal hashes mean that nothing changes. */
  readonly hash: string;
  readonly workingDir: string;
  readonly configFiles: readonly string[];
}

export type RestartCondition = 'none' | 'on-failure' | 'any';

export interface RestartPolicy {
  readonly condition: RestartCondition;
  /** Base delay; doubled at every failure in a row, up to `maxDelayMs`, forgotten after 10 s of running. */
  readonly delayMs: number;
  readonly maxDelayMs: number;
  /** 0: without end. */
  readonly maxAttempts: number;
  /** Attempts count only within this window; 0: forever. */
  readonly windowMs: number;
}

export type PortProtocol = 'tcp' | 'udp' | 'sctp';
export type PublishMode = 'ingress' | 'host';

export interface PublishedPort {
  readonly target: number;
  /** 0: one is chosen from 30000–32767. */
  readonly published: number;
  /** One is chosen of those from `published` to this; absent: it is that one. */
  readonly publishedEnd?: number;
  readonly protocol: PortProtocol;
  readonly mode: PublishMode;
  /** Address to answer on; empty: all. */
  readonly hostIp: string;
  /** 'keep': containers see the caller's address also when another node was called; absent: then they see that node's. */
  readonly source?: 'keep';
}

export interface NetworkAttachment {
  /** Name of the network object (already prefixed: "shop_default"). */
  readonly network: string;
  readonly aliases: readonly string[];
  /** A fixed address; empty: one is allocated. */
  readonly ipv4Address: string;
  /** The same of IPv6; absent: one is allocated where the network has IPv6. */
  readonly ipv6Address?: string;
  /** "02:42:ac:11:65:43"; absent: it follows from the IPv4 address. */
  readonly macAddress?: string;
  /** Networks are attached from the highest to the lowest, as Compose has it; absent: 0. */
  readonly priority?: number;
  /** The default route goes through the network with the highest; absent: 0. */
  readonly gatewayPriority?: number;
  /** Name of the interface in the container; absent: eth0, eth1, … */
  readonly interfaceName?: string;
}

/** "bridge networks" | host's namespace | none | that of the container in the same slot of another service of the project. */
export type NetworkMode = 'networks' | 'host' | 'none' | `service:${string}`;

/** `links: ["db:database"]`: the service answers to a further name in this container alone. */
export interface ServiceLink {
  /** "db" */
  readonly service: string;
  /** "database" */
  readonly alias: string;
}

export interface TaskSpec {
  readonly container: ContainerSpec;
  readonly limits: ResourceLimits;
  readonly reservations: ResourceReservations;
  readonly restart: RestartPolicy;
  readonly networkMode: NetworkMode;
  readonly networks: readonly NetworkAttachment[];
  readonly log: LogConfig;
  /** Placement constraints, "node.hostname==a". */
  readonly constraints: readonly string[];
  /** Raised to force a replacement with an otherwise equal spec. */
  readonly forceUpdate: number;
  /** Absent: no preferences, any number per node. Tasks that wait follow the service's, not their own. */
  readonly placement?: Placement;
  /** What becomes of it on a node that is cut off; absent: `auto`. */
  readonly fencing?: FencingPolicy;
  /** Absent: none. */
  readonly links?: readonly ServiceLink[];
  /** What becomes of what somebody changes by hand; absent: `repair`. */
  readonly drift?: DriftPolicy;
}

/** `repair`: it is made again what the spec says, and told; `report`: it is only told. */
export type DriftPolicy = 'repair' | 'report';

/**
 * `auto`: a task that can be replaced elsewhere and writes what another machine may write too ends when its node's lease does;
 * `always`: also when it writes nothing of the kind: at most one task in a slot; `never`: it runs on.
 */
export type FencingPolicy = 'auto' | 'always' | 'never';

/** How tasks are spread over the nodes that match their constraints. */
export interface Placement {
  /** Labels over whose values tasks are spread evenly, the first one first: "node.labels.zone". */
  readonly spread: readonly string[];
  /** 0: any number. */
  readonly maxReplicasPerNode: number;
}

export type DependencyCondition = 'started' | 'healthy' | 'completed';

export interface ServiceDependency {
  /** Name of the service inside the project ("db"). */
  readonly service: string;
  readonly condition: DependencyCondition;
  /** false: a missing or failing dependency only warns. */
  readonly required: boolean;
  /** Restart this service when the dependency is restarted. */
  readonly restart: boolean;
}

export type UpdateFailureAction = 'pause' | 'continue' | 'rollback';

export interface UpdateConfig {
  /** Slots at a time; 0: all. */
  readonly parallelism: number;
  /** Pause after a slot before the next one takes its turn. */
  readonly delayMs: number;
  readonly order: 'stop-first' | 'start-first';
  /** For this long a new task has to serve before its slot counts as updated; absent: 5 s, as Docker has it. */
  readonly monitorMs?: number;
  /** Part of the slots that may fail, 0 to 1; absent: none. */
  readonly maxFailureRatio?: number;
  /** What to do when more fail; absent: pause. */
  readonly failureAction?: UpdateFailureAction;
}

/** Docker's names and meanings. */
export type UpdateState =
  'updating' | 'paused' | 'completed' | 'rollback_started' | 'rollback_paused' | 'rollback_completed';

/** How a slot is doing in an update. */
export interface UpdatedSlot {
  readonly slot: number;
  readonly taskId: TaskId;
  /** When the manager first saw the task serve, wall time, ms. */
  readonly since: number;
  /** It has served for as long as the update watches it. */
  readonly passed: boolean;
}

/** The newest update of a service, under way or over. */
export interface UpdateStatus {
  readonly state: UpdateState;
  /** Wall time, ms; of an update that was resumed: when it was. */
  readonly startedAt: number;
  /** Wall time, ms; 0: it is not over. */
  readonly completedAt: number;
  /** One line for people: how far it is, what it waits for, why it failed. */
  readonly message: string;
  /** `Service.specVersion` that it leads to. */
  readonly specVersion: number;
  /** Slots that had to change when it began. */
  readonly total: number;
  /** Numbers of the slots whose new task failed. */
  readonly failed: readonly number[];
  /** Slots whose new task serves or has served; empty when the update is over. */
  readonly slots: readonly UpdatedSlot[];
  /** Why the first slot failed; empty: none did. */
  readonly reason: string;
  /** How a rollback goes: `rollback` of the spec that failed. */
  readonly config?: UpdateConfig;
  /** It moves tasks and changes nothing of them: a failure pauses it, there is nothing to go back to. Absent: a change of the spec. */
  readonly kind?: 'rebalance';
}

/** A spec that a service had before, to roll back to. */
export interface PreviousSpec {
  readonly spec: ServiceSpec;
  readonly specVersion: number;
}

/** What the slots of a service are: numbered replicas or nodes, for ever or until they have completed. */
export type ServiceMode = 'replicated' | 'global' | 'replicated-job' | 'global-job';

export interface ServiceSpec {
  /** Full name: "<project>_<service>" or "<project>-<service>" is display's business; here "shop_db". */
  readonly name: string;
  /** Name inside the project: "db". It is also the service's DNS name. */
  readonly composeName: string;
  readonly labels: Labels;
  readonly replicas: number;
  readonly task: TaskSpec;
  readonly ports: readonly PublishedPort[];
  readonly dependsOn: readonly ServiceDependency[];
  readonly update: UpdateConfig;
  /** Name of every container instead of "<project>-<service>-<slot>"; empty: none. Only with one replica. */
  readonly containerName: string;
  /** How a failed update is rolled back; absent: one slot at a time, as Docker does. */
  readonly rollback?: UpdateConfig;
  /** Absent: replicated. */
  readonly mode?: ServiceMode;
  /** `auto`: tasks move by themselves when nodes come; absent: only when somebody says so. */
  readonly rebalance?: 'auto';
  /** What the service's name leads to: one virtual address, or the addresses of all its tasks; absent: vip. */
  readonly endpointMode?: 'vip' | 'dnsrr';
  /** `client`: who came once is led to the same task again, as long as it serves; absent: any. */
  readonly affinity?: 'client';
}

/** One address for all tasks of a service on a network. */
export interface VirtualIp {
  readonly networkId: NetworkId;
  readonly ipv4: string;
  /** Absent where the network has no IPv6. */
  readonly ipv6?: string;
}

export interface Service {
  readonly id: ServiceId;
  readonly meta: Meta;
  /** Empty for a service of no project. */
  readonly projectId: ProjectId | '';
  /** Empty for a service of no project. */
  readonly projectName: string;
  readonly spec: ServiceSpec;
  /** Raised whenever `spec.task`, ports or names change: tasks of an older one are replaced. */
  readonly specVersion: number;
  /** Revision of the project that last touched the service. */
  readonly revision: number;
  /** `tscompose stop`: no task is wanted, everything else stays. */
  readonly stopped: boolean;
  /** `tscompose restart` raises it: every live task is stopped and started again in place. */
  readonly restartCount: number;
  /** Ports as allocated: those of mode ingress have their numbers here, those of mode host get them with each task. Empty until the allocator has seen the service. */
  readonly ports: readonly PublishedPort[];
  /** `tscompose down`: tasks are stopped, then the object goes. */
  readonly pendingDelete: boolean;
  /** Where a failed update goes back to: the last spec whose update was completed. */
  readonly previous?: PreviousSpec;
  readonly updateStatus?: UpdateStatus;
  /** Of a global service: on how many nodes it shall run, as the orchestrator counted last; absent: not yet. */
  readonly desiredTasks?: number;
  /** Tasks of an older spec version are replaced, whatever has changed: somebody asked for it; absent: none. */
  readonly recreateBelow?: number;
  /** As allocated, one per network of its tasks. */
  readonly virtualIps: readonly VirtualIp[];
}

// ---------------------------------------------------------------------------------------------- tasks

/**
 * Task states only grow: of two observations the greater is the newer (swarmkit, api/types.proto). Gaps leave room.
 * `remove` is only ever desired.
 */
export const TASK_STATES = {
  new: 0,
  pending: 64,
  assigned: 192,
  accepted: 256,
  preparing: 320,
  ready: 384,
  starting: 448,
  running: 512,
  complete: 576,
  shutdown: 640,
  failed: 704,
  rejected: 768,
  remove: 800,
  orphaned: 832,
} as const;

export type TaskState = keyof typeof TASK_STATES;
/** What the manager may want of a task. `ready`: prepare and wait. */
export type DesiredTaskState = 'ready' | 'running' | 'shutdown' | 'remove';

export type HealthState = 'none' | 'starting' | 'healthy' | 'unhealthy';

export interface TaskStatus {
  readonly state: TaskState;
  /** When the state was reached, ms since the epoch. */
  readonly timestamp: number;
  /** One line for people: "pulling image", "started". */
  readonly message: string;
  /** Why it failed, with the real cause; empty if it did not. */
  readonly error: string;
  /** Empty before the container exists. */
  readonly containerId: string;
  readonly pid: number;
  /** Absent until it exited. 128+n when killed by signal n. */
  readonly exitCode?: number;
  readonly oomKilled: boolean;
  readonly health: HealthState;
  /** Digest of the image that runs. */
  readonly imageDigest: string;
  /** `Service.restartCount` that this run of the container obeys. */
  readonly restartCount: number;
  /** The spec that the container has; absent: there is none yet. */
  readonly applied?: AppliedSpec;
  /** Why the container could not be changed; it is as it was before. Absent: it could, or nobody tried. */
  readonly refused?: RefusedChange;
  /** How long the node had the task when it said this, by its own clock; absent: no node has said anything. */
  readonly ageMs?: number;
  /** How long the container's last run took, by its node's clock; absent: it has not ended, or never ran. */
  readonly ranMs?: number;
  /** What was found changed by hand, the newest first, one entry for each field; absent: nothing. */
  readonly drifts?: readonly Drift[];
}

/** What the node had of a container when it looked was not what the spec says: somebody has changed it by hand. */
export interface Drift {
  /** "pids.max", "mount /data", "address eth0" */
  readonly field: string;
  readonly expected: string;
  readonly found: string;
  /** It was made again what the spec says. */
  readonly repaired: boolean;
  /** Why it was not; empty if it was. */
  readonly reason: string;
  /** When it was found last, ms since the epoch by the node's clock. */
  readonly at: number;
  /** How often it was found and repaired; at least 1. */
  readonly count: number;
}

/** Which spec a container has, and how it came by it. */
export interface AppliedSpec {
  /** `Task.specVersion` */
  readonly specVersion: number;
  /** `started`: it is the first in its slot, or follows one that has ended; `replaced`: it took the place of one that ran; `live`: it was changed while it ran. */
  readonly how: 'started' | 'replaced' | 'live';
  /** Of `replaced`: why that was necessary; of `live`: what was changed. Empty: nothing to say. */
  readonly reason: string;
}

/** A change that a running container did not take. */
export interface RefusedChange {
  readonly specVersion: number;
  readonly reason: string;
}

/** What a task was before a change that is under way. */
export interface TaskChange {
  readonly spec: TaskSpec;
  readonly specVersion: number;
  /** Absent or empty: its addresses stay as they are. */
  readonly addresses?: readonly TaskAddress[];
}

export interface TaskAddress {
  readonly networkId: NetworkId;
  /** "10.128.0.5" without prefix length. */
  readonly ipv4: string;
  /** Absent where the network has no IPv6. */
  readonly ipv6?: string;
}

export interface Task {
  readonly id: TaskId;
  readonly meta: Meta;
  readonly serviceId: ServiceId;
  readonly projectId: ProjectId | '';
  /** From 1. One-off tasks (`tscompose run`) have 0. */
  readonly slot: number;
  /** Container name: "shop-web-1", "shop-web-run-0123456789ab". */
  readonly name: string;
  readonly spec: TaskSpec;
  readonly specVersion: number;
  readonly revision: number;
  readonly desiredState: DesiredTaskState;
  readonly status: TaskStatus;
  /** Empty until the scheduler has chosen. */
  readonly nodeId: NodeId | '';
  /** One per attached network; empty until allocated. */
  readonly addresses: readonly TaskAddress[];
  readonly oneOff: boolean;
  /** Remove the container and the task when it has ended (`run --rm`). */
  readonly autoRemove: boolean;
  /** Ports published by this task alone (one-off with -p, mode host); with numbers from when it has a node. */
  readonly ports: readonly PublishedPort[];
  /** The task in the same slot whose writable layer this one takes over (a restart keeps it); empty: none. */
  readonly predecessor: TaskId | '';
  /** How many times this slot failed in a row before this task: feeds the back-off. */
  readonly attempt: number;
  /** The task may not start before this wall time (restart back-off); 0: at once. */
  readonly notBefore: number;
  /**
   * The restart back-off that {@link Task.notBefore} is the end of, ms: what the next one is doubled from. `notBefore - createdAt` is
   * less, by what the decision took to become a task of the store. Absent: none, or the task was made by an older version.
   */
  readonly restartDelayMs?: number;
  /** Copied from the service: see Service.restartCount. */
  readonly restartCount: number;
  /** It waits for a dependency (status.message says which) and is placed nowhere before that. */
  readonly held: boolean;
  /** Replaces the spec's stop grace (`stop -t`, a second Ctrl-C); -1: the spec's. */
  readonly graceOverrideMs: number;
  /** Of a global service: the one node that it may run on. */
  readonly boundNode?: NodeId;
  /** When the slot was restarted before, wall time, ms, as far back as the restart policy's window asks for. */
  readonly restartedAt?: readonly number[];
  /** What the scheduler has set aside on its node, with names where the node tells them apart. */
  readonly generic?: readonly GenericResource[];
  /** For templates in secrets and configs; absent: the task has none of these. */
  readonly service?: { readonly name: string; readonly labels: Labels };
  /** Whose network it shares: a task on the same node; absent: nobody's, or none is there yet. */
  readonly networkTask?: TaskId;
  /** In assignments only: it shall stop, but other nodes may still lead to it: not yet. */
  readonly draining?: boolean;
  /** Its spec was changed while it runs, and its node has not said yet what became of that: what it was before. */
  readonly changing?: TaskChange;
  /** The newest spec that its container could not be changed to. */
  readonly refused?: RefusedChange;
  /** It was made in place of one that runs, because that could not be changed: why. Absent: it was not. */
  readonly instead?: string;
  /** Tasks that had its slot before and are gone from their nodes, the newest first, as far as the history reaches; absent: none. */
  readonly past?: readonly PastTask[];
}

/** What is remembered of a task that is gone. */
export interface PastTask {
  readonly id: TaskId;
  readonly image: string;
  /** Empty: it was on none. */
  readonly nodeId: NodeId | '';
  /** How it ended. */
  readonly state: TaskState;
  readonly error: string;
  /** Of its end, wall time, ms. */
  readonly timestamp: number;
  readonly createdAt: number;
  readonly specVersion: number;
}

// ---------------------------------------------------------------------------------------------- resources

export interface NetworkSpec {
  /** Full name: "shop_default". */
  readonly name: string;
  /** Key in the compose file: "default". */
  readonly composeName: string;
  readonly driver: string;
  readonly labels: Labels;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly options: Readonly<Record<string, string>>;
  /** "172.28.0.0/16"; empty: cut from the pools. */
  readonly subnet: string;
  /** Empty: the first address of the subnet. */
  readonly gateway: string;
  /** Addresses for containers come from this part of the subnet; empty: all of it. */
  readonly ipRange: string;
  readonly ipv6?: NetworkIpv6Spec;
  /** Names and addresses of the subnet that are somebody else's: given to nobody. */
  readonly auxiliaryAddresses: Readonly<Record<string, string>>;
}

/** That a network has IPv6, and how; empty fields are allocated. */
export interface NetworkIpv6Spec {
  readonly subnet: string;
  readonly gateway: string;
  readonly ipRange: string;
}

export interface Network {
  readonly id: NetworkId;
  readonly meta: Meta;
  /** Empty for a network that no project owns. */
  readonly projectId: ProjectId | '';
  readonly spec: NetworkSpec;
  /** As allocated; empty until then. */
  readonly subnet: string;
  readonly gateway: string;
  readonly pendingDelete: boolean;
  /** As allocated; absent: it has no IPv6. */
  readonly ipv6?: { readonly subnet: string; readonly gateway: string };
  /** VXLAN network identifier of an overlay network (RFC 7348), as allocated. */
  readonly vni?: number;
}

export interface VolumeSpec {
  readonly name: string;
  readonly composeName: string;
  readonly driver: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly labels: Labels;
}

export interface Volume {
  readonly id: VolumeId;
  readonly meta: Meta;
  readonly projectId: ProjectId | '';
  readonly spec: VolumeSpec;
  /** `down -v`: the nodes remove the data once no task uses it, then the object goes. */
  readonly pendingDelete: boolean;
  /** Nodes on which a task has made it: its data is there. Absent: none yet. */
  readonly nodeIds?: readonly NodeId[];
  /** Nodes that were given a task with it and have not said that it was made: it may be there. Absent: none. */
  readonly assignedTo?: readonly NodeId[];
}

export interface SecretSpec {
  readonly name: string;
  readonly composeName: string;
  readonly labels: Labels;
  /** 1 B to 500 KiB. */
  readonly data: Uint8Array;
  /** The content is a template, expanded for each container; absent: it is not. */
  readonly templateDriver?: 'golang';
}

export interface Secret {
  readonly id: SecretId;
  readonly meta: Meta;
  readonly projectId: ProjectId | '';
  readonly spec: SecretSpec;
}

export interface Config {
  readonly id: ConfigId;
  readonly meta: Meta;
  readonly projectId: ProjectId | '';
  readonly spec: SecretSpec;
}

/** Who asked for a change, in the words of the one who asked: nobody checks them. */
export interface Author {
  /** Name of the user on the machine. */
  readonly user: string;
  /** "tscompose up", "tsswarm service update". */
  readonly command: string;
}

/**
 * What a project, or a service of no project, was from some change on: kept to be compared with and gone back to.
 * Secrets are named in it, without their bytes.
 */
export interface Revision {
  readonly id: RevisionId;
  readonly meta: Meta;
  /** Empty for one of a service of no project. */
  readonly projectId: ProjectId | '';
  /** Empty for one of a project. */
  readonly serviceId: ServiceId | '';
  /** Grows with every change; one that changed no spec leaves a gap. */
  readonly number: number;
  readonly author?: Author;
  readonly desired: DesiredProject;
  /** The configs' bytes were too many to keep. */
  readonly withoutContents: boolean;
  /** What was changed to get here. */
  readonly changes: readonly ProjectChange[];
}

export type { ContainerId };
